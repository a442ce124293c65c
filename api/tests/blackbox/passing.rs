//! Passing from one lock to the next in one request.

use crate::support::{eventually, shared_account};
use serde_json::json;

#[tokio::test]
async fn one_lock_is_given_back_as_the_other_is_taken() {
    let account = shared_account();
    let first = account.lock("a", 300).await;
    let body = json!({"UnlockID": "a", "Unlock": first, "LockID": "b", "LockDur": 300}).to_string();
    let passed = account.db(body).await;
    let second = passed.number("Lock");
    assert_eq!(passed.ok(), json!({"Lock": second, "Till": passed.number("Till"), "Version": second}));
    assert_eq!(second, first + 1, "it is one write");
    assert!(account.held_lock("a").await.is_none());
    assert_eq!(account.held_lock("b").await.unwrap()["Lock"], second);
}

#[tokio::test]
async fn the_old_lock_stays_held_until_the_new_one_is_got() {
    let account = shared_account();
    let old = account.lock("a", 300).await;
    let other = account.lock("b", 300).await;
    let pass = |wait_s: u64| {
        json!({"UnlockID": "a", "Unlock": old, "LockID": "b", "LockDur": 300, "LockWait": wait_s}).to_string()
    };
    assert_eq!(account.db(pass(0)).await.json()["Code"], "lock_timeout");
    assert_eq!(account.db(pass(1)).await.json()["Code"], "lock_timeout");
    assert_eq!(account.held_lock("a").await.unwrap()["Lock"], old);
    let passing = account.queue_up("b", 1, pass(300)).await;
    let next = account.queue_up("a", 1, r#"{"LockID":"a","LockDur":300,"LockWait":300}"#).await;
    assert_eq!(account.held_lock("a").await.unwrap()["Lock"], old);
    account.unlock("b", other).await;
    let passed = passing.answer().await.number("Lock");
    // Who waited for the old lock is woken by the passing.
    let next = next.answer().await.number("Lock");
    assert!(next > passed);
    assert_eq!(account.held_lock("a").await.unwrap()["Lock"], next);
    assert_eq!(account.held_lock("b").await.unwrap()["Lock"], passed);
}

#[tokio::test]
async fn an_old_lock_whose_lease_ended_meanwhile_refuses_the_request() {
    let account = shared_account();
    let other = account.lock("b", 300).await;
    let old = account.lock("a", 1).await;
    let body =
        json!({"UnlockID": "a", "Unlock": old, "LockID": "b", "LockDur": 300, "LockWait": 300}).to_string();
    let passing = account.begin("db", body).await;
    eventually("the end of the lease", || async { account.held_lock("a").await.is_none().then_some(()) })
        .await;
    account.unlock("b", other).await;
    passing.answer().await.refused(409, "not_locked", json!({"ID": "a"}));
    assert!(account.held_lock("b").await.is_none());
}

#[tokio::test]
async fn two_that_pass_crosswise_both_end() {
    let account = shared_account();
    let (a, b) = (account.lock("a", 300).await, account.lock("b", 300).await);
    let pass = |from: &str, handle: u64, to: &str| {
        json!({"UnlockID": from, "Unlock": handle, "LockID": to, "LockDur": 300, "LockWait": 1}).to_string()
    };
    let one = account.queue_up("b", 1, pass("a", a, "b")).await;
    let two = account.begin("db", pass("b", b, "a")).await;
    for answer in [one.answer().await, two.answer().await] {
        assert_eq!(answer.json()["Code"], "lock_timeout", "{}", answer.text());
    }
    account.unlock("a", a).await;
    account.unlock("b", b).await;
}
