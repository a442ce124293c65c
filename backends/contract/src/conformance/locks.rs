//! Locks: granted once, held until given back or over, fenced by their handles.

use super::client::{Client, applied, ask, cell, in_time, json, number};
use crate::Backend;
use dragon_core::cell::Kind;
use dragon_core::verdict::{Rejection, Verdict};
use serde_json::json;
use std::sync::Arc;

fn not_locked(id: &str) -> Rejection {
    Rejection::NotLocked { id: id.into() }
}

/// One holder at a time; the rest of a request happens only with the grant.
pub async fn lock_grant_and_release(store: Arc<dyn Backend>) {
    let name = "lock-grant";
    let client = Client::new(store);
    let granted = client.apply(ask(name).lock("l", 60).owner("worker-7").add("c", 1)).await;
    let grant = granted.granted.expect("the lock was free");
    let answer = json(&granted.answer);
    assert_eq!(number(&answer, "Lock"), grant.handle);
    assert_eq!(number(&answer, "Version"), grant.handle);
    assert_eq!(number(&answer, "Till"), grant.till_ms / 1_000);
    assert_eq!(answer["Expired"], json!(null));
    let now_ms = client.now_ms().await;
    assert!(grant.till_ms > now_ms && grant.till_ms <= now_ms + 60_000);
    let blocked = client.blocked(ask(name).lock("l", 60).add("c", 1).set("k", "1").if_version(9)).await;
    assert_eq!(blocked.cell, cell(name, Kind::Lock, "l"));
    assert_eq!((blocked.till_ms, &blocked.owner[..]), (grant.till_ms, &b"worker-7"[..]));
    assert_eq!(blocked.stamp, client.stamp(&blocked.cell).await);
    for wrong in [0, grant.handle - 1, grant.handle + 1] {
        assert_eq!(client.refusal(ask(name).unlock("l", wrong).add("c", 1)).await, not_locked("l"));
    }
    assert_eq!(client.refusal(ask(name).unlock("other", grant.handle)).await, not_locked("other"));
    assert_eq!(client.answer(ask(name).unlock("l", grant.handle)).await, json!({}));
    assert_eq!(client.refusal(ask(name).unlock("l", grant.handle)).await, not_locked("l"));
    let next = client.answer(ask(name).lock("l", 60).count("c")).await;
    assert!(number(&next, "Lock") > grant.handle);
    assert_eq!((&next["Expired"], &next["Atomic"][0]["Value"]), (&json!(null), &json!(1)));
}

/// A lease that is over frees the lock, and the next holder is told.
pub async fn lock_expiry(store: Arc<dyn Backend>) {
    let name = "lock-expiry";
    let client = Client::new(store);
    let grant = client.apply(ask(name).lock("l", 1)).await.granted.expect("the lock was free");
    client.wait_until(grant.till_ms).await;
    assert_eq!(client.refusal(ask(name).unlock("l", grant.handle)).await, not_locked("l"));
    let extend = ask(name).unlock("l", grant.handle).lock("l", 5);
    assert_eq!(client.refusal(extend).await, not_locked("l"));
    assert_eq!(client.blocked(ask(name).lock("l", 60).queued()).await.handle, 0, "nobody holds it");
    let next = client.answer(ask(name).lock("l", 60)).await;
    assert_eq!(next["Expired"], json!(true));
    assert!(number(&next, "Lock") > grant.handle);
    assert_eq!(client.refusal(ask(name).unlock("l", grant.handle)).await, not_locked("l"));
    client.apply(ask(name).unlock("l", number(&next, "Lock"))).await;
    let last = client.answer(ask(name).lock("l", 60)).await;
    assert_eq!(last["Expired"], json!(null), "the one before gave it back");
}

/// An extend lengthens the lease and keeps the handle; one without a duration only checks.
pub async fn lock_extension(store: Arc<dyn Backend>) {
    let name = "lock-extension";
    let client = Client::new(store);
    let grant = client.apply(ask(name).lock("l", 2).owner("one")).await.granted.expect("it was free");
    let check = |handle| ask(name).unlock("l", handle).lock("l", 0);
    let checked = client.answer(check(grant.handle).set("guarded", "1")).await;
    let till = grant.till_ms / 1_000;
    assert_eq!((number(&checked, "Lock"), number(&checked, "Till")), (grant.handle, till));
    assert_eq!(number(&checked, "Version"), grant.handle + 1);
    let refusal = client.refusal(check(grant.handle + 1).set("guarded", "2")).await;
    assert_eq!(refusal, not_locked("l"));
    let extended = client.apply(ask(name).unlock("l", grant.handle).lock("l", 60).owner("two")).await;
    assert_eq!(extended.granted, None, "an extended lock is not taken");
    let extended = json(&extended.answer);
    assert_eq!(number(&extended, "Lock"), grant.handle);
    assert!(number(&extended, "Till") > till + 30);
    client.wait_until(grant.till_ms).await;
    let blocked = client.blocked(ask(name).lock("l", 1)).await;
    assert_eq!((blocked.handle, &blocked.owner[..]), (grant.handle, &b"two"[..]));
    client.apply(check(grant.handle)).await;
    client.apply(ask(name).unlock("l", grant.handle)).await;
    assert_eq!(client.refusal(check(grant.handle)).await, not_locked("l"));
}

/// Passing from one lock to the next keeps the old one until the new one is got.
pub async fn lock_pass(store: Arc<dyn Backend>) {
    let name = "lock-pass";
    let client = Client::new(store);
    let old = client.apply(ask(name).lock("old", 60)).await.granted.expect("it was free").handle;
    let taken = client.apply(ask(name).lock("new", 60)).await.granted.expect("it was free").handle;
    let pass = || ask(name).unlock("old", old).lock("new", 60);
    assert_eq!(client.blocked(pass()).await.cell, cell(name, Kind::Lock, "new"));
    client.blocked(ask(name).lock("old", 60)).await;
    client.apply(ask(name).unlock("new", taken)).await;
    let refused = pass().set("k", "1").if_version(5);
    assert!(matches!(client.refusal(refused).await, Rejection::VersionMismatch { .. }));
    client.blocked(ask(name).lock("old", 60)).await;
    let new = client.apply(pass()).await.granted.expect("it was given back").handle;
    assert!(new > taken);
    assert_eq!(client.refusal(pass()).await, not_locked("old"));
    client.apply(ask(name).lock("old", 60)).await;
    client.blocked(ask(name).lock("new", 60)).await;
}

/// A request that is not first in its queue gets no free lock, but is refused where it would be.
pub async fn lock_queue(store: Arc<dyn Backend>) {
    let name = "lock-queue";
    let client = Client::new(store);
    let blocked = client.blocked(ask(name).lock("l", 60).set("k", "1").queued()).await;
    assert_eq!((blocked.stamp, blocked.handle, blocked.owner.len()), (0, 0, 0));
    client.apply(ask(name).once(&["used"])).await;
    let duplicate = client.refusal(ask(name).once(&["used"]).lock("l", 60).queued()).await;
    assert!(matches!(duplicate, Rejection::DuplicateRequest { .. }));
    let pass = ask(name).unlock("never", 1).lock("l", 60).queued();
    assert_eq!(client.refusal(pass).await, not_locked("never"));
    // The head of the queue gets it in the batch in which it is given back.
    let handle = client.apply(ask(name).lock("l", 60)).await.granted.expect("it was free").handle;
    let mut verdicts = client
        .commit([
            ask(name).lock("l", 60).queued(),
            ask(name).unlock("l", handle),
            ask(name).lock("l", 60).queued(),
            ask(name).lock("l", 60),
            ask(name).lock("l", 60),
        ])
        .await;
    assert!(matches!(verdicts[0], Verdict::Blocked(_)));
    assert!(matches!(verdicts[2], Verdict::Blocked(_)));
    assert!(matches!(verdicts[4], Verdict::Blocked(_)));
    assert_eq!(applied(verdicts.remove(3)).granted.map(|grant| grant.handle), Some(handle + 2));
}

/// Many at once for one lock: never two hold it, and all get it in the end.
pub async fn lock_contention(store: Arc<dyn Backend>) {
    const CONTENDERS: usize = 16;
    let name = "lock-contention";
    let client = Client::new(store);
    let contend = |client: Client| async move {
        let lock = cell(name, Kind::Lock, "l");
        loop {
            match client.verdict(ask(name).lock("l", 60).add("inside", 1)).await {
                Verdict::Applied(applied) => {
                    assert_eq!(json(&applied.answer)["Atomic"][0]["Value"], 1, "alone inside");
                    let handle = applied.granted.expect("it was granted").handle;
                    client.apply(ask(name).unlock("l", handle).add("inside", -1)).await;
                    return handle;
                }
                Verdict::Blocked(blocked) => {
                    in_time(client.store.changed(&lock, blocked.stamp)).await.expect("it can be watched");
                }
                Verdict::Rejected(rejection) => panic!("refused: {rejection:?}"),
            }
        }
    };
    let tasks: Vec<_> = (0..CONTENDERS).map(|_| tokio::spawn(contend(client.clone()))).collect();
    let mut handles = Vec::new();
    for task in tasks {
        handles.push(in_time(task).await.expect("no contender fails"));
    }
    handles.sort_unstable();
    handles.dedup();
    assert_eq!(handles.len(), CONTENDERS, "every grant has its own handle");
}
