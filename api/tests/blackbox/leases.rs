//! Leases: they end, are extended, and are checked.

use crate::support::{Account, Answer, assert_till, eventually, shared_account, unix_s};
use serde_json::json;
use std::time::{Duration, Instant};

async fn extend(account: &Account, handle: u64, dur_s: u64, more: &str) -> Answer {
    let body = format!(r#"{{"UnlockID":"l","Unlock":{handle},"LockID":"l","LockDur":{dur_s}{more}}}"#);
    account.db(body).await
}

#[tokio::test]
async fn the_end_of_a_lease_wakes_the_next_and_tells_it() {
    let account = shared_account();
    let begun = Instant::now();
    let late = account.lock("l", 1).await;
    let waiter = account.begin("db", r#"{"LockID":"l","LockDur":300,"LockWait":300}"#).await;
    let granted = waiter.answer().await;
    assert!(begun.elapsed() >= Duration::from_millis(950), "it was free after {:?}", begun.elapsed());
    assert_eq!(granted.ok()["Expired"], true);
    let handle = granted.number("Lock");
    assert_eq!(handle, late + 1, "the end of a lease is no write");
    // The one who came late has lost it, whatever it tries.
    let unlock = json!({"UnlockID": "l", "Unlock": late, "KVSet": [{"Key": "k", "Value": 1}]}).to_string();
    account.db(unlock).await.refused(409, "not_locked", json!({"ID": "l"}));
    for dur_s in [0, 30] {
        extend(&account, late, dur_s, "").await.refused(409, "not_locked", json!({"ID": "l"}));
    }
    assert_eq!(account.get("k").await, (0, None));
    // Only the next holder is told.
    account.unlock("l", handle).await;
    let after = account.db(r#"{"LockID":"l","LockDur":300}"#).await.ok();
    assert_eq!(after.get("Expired"), None);
}

#[tokio::test]
async fn a_lease_that_ended_unnoticed_is_told_too() {
    let account = shared_account();
    let late = account.lock("l", 1).await;
    eventually("the end of the lease", || async { account.held_lock("l").await.is_none().then_some(()) })
        .await;
    // Nobody has taken it since, and still the handle holds it no longer.
    extend(&account, late, 30, "").await.refused(409, "not_locked", json!({"ID": "l"}));
    let unlock = json!({"UnlockID": "l", "Unlock": late}).to_string();
    account.db(unlock).await.refused(409, "not_locked", json!({"ID": "l"}));
    let taken = account.db(r#"{"LockID":"l","LockDur":300}"#).await;
    assert_eq!(taken.ok()["Expired"], true);
    assert_eq!(taken.number("Lock"), late + 1);
}

#[tokio::test]
async fn an_extension_keeps_the_handle_and_moves_the_end() {
    let account = shared_account();
    let handle = account.db(r#"{"LockID":"l","LockDur":1,"LockOwner":"me"}"#).await.number("Lock");
    let before_s = unix_s();
    let extended = extend(&account, handle, 600, r#","LockOwner":"me""#).await;
    let till = extended.number("Till");
    assert_till(till, before_s, 600);
    assert_eq!(extended.ok(), json!({"Lock": handle, "Till": till, "Version": handle + 1}));
    let refused = account.db(r#"{"LockID":"l","LockDur":9,"LockWait":2}"#).await;
    refused.refused(409, "lock_timeout", json!({"Till": till, "Owner": "me"}));
    account.unlock("l", handle).await;
}

#[tokio::test]
async fn an_extension_may_shorten_which_wakes_the_waiter_in_time() {
    let account = shared_account();
    let handle = account.lock("l", 86_400).await;
    let waiter = account.queue_up("l", 1, r#"{"LockID":"l","LockDur":300,"LockWait":300}"#).await;
    let before_s = unix_s();
    assert_till(extend(&account, handle, 1, "").await.number("Till"), before_s, 1);
    assert_eq!(waiter.answer().await.ok()["Expired"], true);
}

#[tokio::test]
async fn an_extension_never_waits_and_needs_the_handle() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    // Those who wait for the lock do not stand in the holder's way.
    let _waiter = account.queue_up("l", 1, r#"{"LockID":"l","LockDur":300,"LockWait":300}"#).await;
    for wrong in [0, handle - 1, handle + 1] {
        for dur_s in [0, 30] {
            let answer = extend(&account, wrong, dur_s, r#","LockWait":300"#).await;
            answer.refused(409, "not_locked", json!({"ID": "l"}));
        }
    }
    let more = r#","KVSet":[{"Key":"k","Value":1}],"Atomic":[{"Key":"n","Add":2}]"#;
    let answer = extend(&account, handle, 300, more).await.ok();
    assert_eq!(answer["Atomic"], json!([{"Key": "n", "Value": 2}]));
    assert_eq!(account.get("k").await.0, answer["Version"].as_u64().unwrap());
}

#[tokio::test]
async fn a_duration_of_zero_only_checks() {
    let account = shared_account();
    let taken = account.db(r#"{"LockID":"l","LockDur":300,"LockOwner":"me"}"#).await;
    let (handle, till) = (taken.number("Lock"), taken.number("Till"));
    let guarded = r#","KVSet":[{"Key":"k","Value":1}]"#;
    let checked = extend(&account, handle, 0, guarded).await.ok();
    assert_eq!(checked, json!({"Lock": handle, "Till": till, "Version": handle + 1}));
    let shown = account.held_lock("l").await.unwrap();
    let shown_before =
        json!({"ID": "l", "Lock": handle, "Till": till, "Since": till - 300, "Owner": "me", "Waiting": 0});
    assert_eq!(shown, shown_before);
    assert_eq!(account.get("k").await.0, handle + 1);
    account.unlock("l", handle).await;
    let more = r#","KVSet":[{"Key":"k","Delete":true}]"#;
    extend(&account, handle, 0, more).await.refused(409, "not_locked", json!({"ID": "l"}));
    assert_eq!(account.get("k").await.0, handle + 1);
}

#[tokio::test]
async fn a_refused_extension_leaves_the_lease() {
    let account = shared_account();
    let taken = account.db(r#"{"LockID":"l","LockDur":300}"#).await;
    let (handle, till) = (taken.number("Lock"), taken.number("Till"));
    let answer = extend(&account, handle, 86_400, r#","Atomic":[{"Key":"n","IfEq":1}]"#).await;
    answer.refused(409, "precondition_failed", json!({"Key": "n", "Value": 0}));
    assert_eq!(account.held_lock("l").await.unwrap()["Till"], till);
}
