//! One lock, many clients, on all frontends.

use crate::cluster::Cluster;
use crate::support::Account;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

const CLIENTS: usize = 24;
const GRANTS_EACH: usize = 10;

/// What the holders of a lock know of each other, all being in this process.
#[derive(Debug, Default)]
pub struct Witness {
    held: AtomicBool,
    handles: Mutex<Vec<u64>>,
}

impl Witness {
    /// A lock was granted.
    pub fn enter(&self, handle: u64) {
        assert!(!self.held.swap(true, Ordering::SeqCst), "{handle} was granted while another one was held");
        let mut handles = self.handles.lock().unwrap();
        assert!(handles.last().is_none_or(|last| *last < handle), "{handle} came after {:?}", handles.last());
        handles.push(handle);
    }

    /// It will be given back.
    pub fn leave(&self) {
        assert!(self.held.swap(false, Ordering::SeqCst));
    }

    pub fn grants(&self) -> usize {
        self.handles.lock().unwrap().len()
    }
}

/// Reads a value as it takes the lock, and writes it back one higher as it gives the lock back: two
/// requests that only the lock keeps apart from the others'.
async fn take_and_give_back(account: Account, witness: Arc<Witness>, waits: bool) {
    let wait_s = if waits { 60 } else { 0 };
    let take = json!({"LockID": "l", "LockDur": 300, "LockWait": wait_s, "KVGet": [{"Key": "guarded"}]});
    let take = take.to_string();
    for _ in 0..GRANTS_EACH {
        let granted = loop {
            let answer = account.db(&take).await;
            if answer.status == 200 {
                break answer;
            }
            assert_eq!(answer.json()["Code"], "lock_timeout", "{}", answer.text());
            assert!(!waits, "it waited in vain: {}", answer.text());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        let handle = granted.number("Lock");
        witness.enter(handle);
        let seen = granted.ok()["KV"][0]["Value"].as_u64().unwrap_or_default();
        let give_back =
            json!({"UnlockID": "l", "Unlock": handle, "KVSet": [{"Key": "guarded", "Value": seen + 1}]});
        witness.leave();
        account.db(give_back.to_string()).await.ok();
    }
}

async fn exclude(frontends: usize) {
    let cluster = Cluster::start(frontends);
    let witness = Arc::new(Witness::default());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        // Most wait in a frontend's queue; some only try, again and again.
        let account = cluster.account_at(client % frontends, "a");
        clients.spawn(take_and_give_back(account, Arc::clone(&witness), client % 8 != 0));
    }
    clients.join_all().await;
    let account = cluster.account("a");
    let (_, guarded) = account.get("guarded").await;
    assert_eq!(guarded, Some((CLIENTS * GRANTS_EACH).to_string()));
    assert_eq!(witness.grants(), CLIENTS * GRANTS_EACH);
    // The unlocks that carry the value are half of all writes: each write has raised the revision by one.
    assert_eq!(account.next_revision().await, 2 * (CLIENTS * GRANTS_EACH) as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_excludes_across_two_frontends() {
    exclude(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_excludes_across_three_frontends() {
    exclude(3).await;
}
