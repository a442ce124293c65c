//! Locks: taken, refused, waited for in order, given back.

use crate::support::{Account, Pending, assert_till, shared_account, unix_s};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const WAITERS: u64 = 20;

#[tokio::test]
async fn a_held_lock_refuses_with_till_and_owner() {
    let account = shared_account();
    let before_s = unix_s();
    let taken = account.db(r#"{"LockID":"l","LockDur":300,"LockOwner":"worker-7 ✓"}"#).await;
    let (handle, till) = (taken.number("Lock"), taken.number("Till"));
    assert_till(till, before_s, 300);
    for body in
        [r#"{"LockID":"l","LockDur":9}"#, r#"{"LockID":"l","LockDur":9,"LockWait":0,"LockOwner":"me"}"#]
    {
        account.db(body).await.refused(409, "lock_timeout", json!({"Till": till, "Owner": "worker-7 ✓"}));
    }
    account.unlock("l", handle).await;
    let taken = account.db(r#"{"LockID":"l","LockDur":86400}"#).await;
    assert!(taken.number("Lock") > handle);
    let till = taken.number("Till");
    account.db(r#"{"LockID":"l","LockDur":9}"#).await.refused(409, "lock_timeout", json!({"Till": till}));
}

#[tokio::test]
async fn a_wait_ends_in_lock_timeout_and_not_before_its_time() {
    let account = shared_account();
    let taken = account.db(r#"{"LockID":"l","LockDur":300,"LockOwner":"holder"}"#).await;
    let (handle, till) = (taken.number("Lock"), taken.number("Till"));
    let begun = Instant::now();
    let first = account.queue_up("l", 1, r#"{"LockID":"l","LockDur":30,"LockWait":1}"#).await;
    let second = account.queue_up("l", 2, r#"{"LockID":"l","LockDur":30,"LockWait":300}"#).await;
    first.answer().await.refused(409, "lock_timeout", json!({"Till": till, "Owner": "holder"}));
    assert!(begun.elapsed() >= Duration::from_millis(950), "it waited only {:?}", begun.elapsed());
    // The one behind it is not disturbed.
    account.until_waiting("l", 1).await;
    account.unlock("l", handle).await;
    let next = second.answer().await.number("Lock");
    assert_eq!(next, handle + 2, "the wait that timed out wrote nothing");
}

#[tokio::test]
async fn waiting_is_first_come_first_served() {
    let account = shared_account();
    let mut handle = account.lock("l", 300).await;
    let mut queue: Vec<Pending> = Vec::new();
    for waiter in 1..=WAITERS {
        let body = json!({"LockID": "l", "LockDur": 300, "LockWait": 300, "LockOwner": format!("{waiter}"),
            "Atomic": [{"Key": "served", "Add": 1}]});
        queue.push(account.queue_up("l", waiter, body.to_string()).await);
    }
    for (served, waiter) in (1..=WAITERS).zip(queue) {
        account.unlock("l", handle).await;
        let answer = waiter.answer().await;
        assert_eq!(answer.ok()["Atomic"], json!([{"Key": "served", "Value": served}]));
        assert_eq!(account.held_lock("l").await.unwrap()["Owner"], served.to_string());
        let next = answer.number("Lock");
        assert_eq!(next, handle + 2, "one revision for the unlock and one for the grant");
        handle = next;
    }
}

#[tokio::test]
async fn nobody_overtakes_with_a_wait_of_zero() {
    // Nobody overtakes within a frontend; from another one it may happen.
    let account = shared_account().on_one_frontend();
    let mut handle = account.lock("l", 300).await;
    for _ in 0..20 {
        let waiter = account.queue_up("l", 1, r#"{"LockID":"l","LockDur":300,"LockWait":300}"#).await;
        // Behind the unlock on the same connection: as close after it as can be.
        let mut connection = crate::support::Connection::open(account.address()).await;
        let unlock = json!({"UnlockID": "l", "Unlock": handle}).to_string();
        let mut bytes = crate::support::request_bytes(&account.path("db"), unlock.as_bytes());
        let overtake = br#"{"LockID":"l","LockDur":300}"#;
        bytes.extend(crate::support::request_bytes(&account.path("db"), overtake));
        connection.send(&bytes).await.unwrap();
        connection.receive().await.ok();
        let overtaker = connection.receive().await;
        assert_eq!(overtaker.json()["Code"], "lock_timeout", "{}", overtaker.text());
        handle = waiter.answer().await.number("Lock");
    }
}

#[tokio::test]
async fn a_late_comer_with_a_wait_stands_behind() {
    // First come, first served within a frontend; one who comes to another may be first.
    let account = shared_account().on_one_frontend();
    let mut handle = account.lock("l", 300).await;
    for _ in 0..20 {
        let first = account.queue_up("l", 1, r#"{"LockID":"l","LockDur":300,"LockWait":300}"#).await;
        let unlock = account.begin("db", json!({"UnlockID": "l", "Unlock": handle}).to_string()).await;
        let late = account.begin("db", r#"{"LockID":"l","LockDur":300,"LockWait":300}"#).await;
        unlock.answer().await.ok();
        let first = first.answer().await.number("Lock");
        account.unlock("l", first).await;
        handle = late.answer().await.number("Lock");
        assert!(handle > first);
    }
}

#[tokio::test]
async fn a_lock_excludes_and_its_handles_rise() {
    let account = shared_account();
    account.set("guarded", "0").await;
    let mut workers = JoinSet::new();
    for _ in 0..10 {
        let account = account.clone();
        workers.spawn(async move {
            let mut entered = Vec::new();
            for _ in 0..5 {
                entered.push(add_one_under_lock(&account).await);
            }
            entered
        });
    }
    let mut entered: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    entered.sort_unstable();
    assert_eq!(account.get("guarded").await.1.as_deref(), Some("50"));
    // In the order of the values seen, the handles rise too: it was one after the other.
    assert!(entered.iter().map(|(seen, _)| *seen).eq(0..50));
    assert!(entered.is_sorted_by(|(_, one), (_, next)| one < next));
}

/// Reads and writes the value in two requests, which only the lock keeps apart from the others'.
async fn add_one_under_lock(account: &Account) -> (u64, u64) {
    let body = r#"{"LockID":"l","LockDur":300,"LockWait":300,"KVGet":[{"Key":"guarded"}]}"#;
    let answer = account.db(body).await;
    let (handle, seen) = (answer.number("Lock"), answer.ok()["KV"][0]["Value"].as_u64().unwrap());
    let set = json!({"UnlockID": "l", "Unlock": handle, "KVSet": [{"Key": "guarded", "Value": seen + 1}]});
    account.db(set.to_string()).await.ok();
    (seen, handle)
}

#[tokio::test]
async fn only_the_current_handle_unlocks() {
    let account = shared_account();
    let old = account.lock("l", 300).await;
    account.unlock("l", old).await;
    let other = account.lock("other", 300).await;
    let current = account.lock("l", 300).await;
    for wrong in [0, 1, old, other, current + 1, i64::MAX as u64] {
        let body = json!({"UnlockID": "l", "Unlock": wrong, "KVSet": [{"Key": "k", "Value": 1}]}).to_string();
        account.db(body).await.refused(409, "not_locked", json!({"ID": "l"}));
    }
    account.db(r#"{"UnlockID":"never held","Unlock":1}"#).await.refused(
        409,
        "not_locked",
        json!({"ID": "never held"}),
    );
    assert_eq!(account.get("k").await, (0, None));
    assert_eq!(account.held_lock("l").await.unwrap()["Lock"], current);
    let body = format!(r#"{{"UnlockID":"l","Unlock":"{current}","KVSet":[{{"Key":"k","Value":1}}]}}"#);
    assert_eq!(account.db(body).await.ok(), json!({"Version": current + 1}));
    let again = json!({"UnlockID": "l", "Unlock": current}).to_string();
    account.db(again).await.refused(409, "not_locked", json!({"ID": "l"}));
    assert!(account.held_lock("l").await.is_none());
}

#[tokio::test]
async fn locks_of_other_names_and_accounts_are_free() {
    let account = shared_account();
    account.lock("l", 300).await;
    account.lock("l2", 300).await;
    account.lock("L", 300).await;
    account.other().lock("l", 300).await;
    // Not even the holder gets it twice.
    let again = account.db(r#"{"LockID":"l","LockDur":300}"#).await;
    assert_eq!(again.json()["Code"], "lock_timeout");
}

#[tokio::test]
async fn owners_have_up_to_256_bytes() {
    let account = shared_account();
    let longest = "é".repeat(128);
    account.db(json!({"LockID": "l", "LockDur": 300, "LockOwner": longest}).to_string()).await.ok();
    assert_eq!(account.held_lock("l").await.unwrap()["Owner"], longest);
    let body = json!({"LockID": "m", "LockDur": 300, "LockOwner": longest + "x"}).to_string();
    account.db(body).await.invalid("LockOwner");
}
