//! Clients that hang up: waiting, at the grant, and after it.

use crate::support::{eventually, shared_account};
use serde_json::json;
use std::time::Duration;

const WAIT: &str = r#"{"LockID":"l","LockDur":300,"LockWait":300}"#;

#[tokio::test]
async fn who_hangs_up_leaves_the_queue_and_never_gets_the_lock() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    let gone = r#"{"LockID":"l","LockDur":300,"LockWait":300,"Atomic":[{"Key":"n","Add":1}]}"#;
    let head = account.queue_up("l", 1, gone).await;
    let stays = account.queue_up("l", 2, WAIT).await;
    let middle = account.queue_up("l", 3, gone).await;
    let last = account.queue_up("l", 4, WAIT).await;
    middle.hang_up();
    account.until_waiting("l", 3).await;
    head.hang_up();
    account.until_waiting("l", 2).await;
    account.unlock("l", handle).await;
    let second = stays.answer().await.number("Lock");
    assert_eq!(second, handle + 2, "nobody was granted it in between");
    account.unlock("l", second).await;
    assert_eq!(last.answer().await.number("Lock"), second + 2);
    assert_eq!(account.count("n", 0).await, 0);
}

#[tokio::test]
async fn a_queue_of_those_who_hung_up_is_empty() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    let mut queue = Vec::new();
    for waiting in 1..=10 {
        queue.push(account.queue_up("l", waiting, WAIT).await);
    }
    drop(queue);
    account.until_waiting("l", 0).await;
    account.unlock("l", handle).await;
    assert_eq!(account.lock("l", 300).await, handle + 2);
}

#[tokio::test]
async fn a_lock_granted_to_one_who_hangs_up_meanwhile_is_free_at_once() {
    let account = shared_account();
    let mut handle = account.lock("l", 300).await;
    for round in 0..30 {
        let waiter = account.queue_up("l", 1, WAIT).await;
        let unlock = account.begin("db", json!({"UnlockID": "l", "Unlock": handle}).to_string()).await;
        // Somewhere around the grant, from before it to after it.
        tokio::time::sleep(Duration::from_micros(200 * round)).await;
        waiter.hang_up();
        unlock.answer().await.ok();
        // An answer that was on its way counts as given: then the lease is the client's, and it is
        // the client that is gone. Everything else must be free.
        let next = account.db(r#"{"LockID":"l","LockDur":300,"LockWait":2}"#).await;
        handle = if next.status == 200 {
            assert_eq!(next.ok().get("Expired"), None);
            next.number("Lock")
        } else {
            assert_eq!(next.json()["Code"], "lock_timeout");
            account.held_lock("l").await.unwrap()["Lock"].as_u64().unwrap()
        };
    }
}

#[tokio::test]
async fn a_result_that_nobody_took_is_told_to_the_retry() {
    let account = shared_account();
    for round in 0..20 {
        let lock = format!("l{round}");
        let body = json!({"IdempotencyIDs": [lock], "LockID": lock, "LockDur": 300, "LockWait": 30,
            "Atomic": [{"Key": "n", "Add": 1}]})
        .to_string();
        let first = account.begin("db", &body).await;
        tokio::time::sleep(Duration::from_micros(200 * round)).await;
        first.hang_up();
        let retry = account.db(&body).await;
        let result = if retry.status == 200 {
            retry.ok() // The first one had not been applied.
        } else {
            let json = retry.json();
            let fields = json!({"ID": lock, "Response": json["Response"], "SameRequest": true});
            retry.refused(409, "duplicate_request", fields);
            json["Response"].clone()
        };
        assert_eq!(result["Atomic"], json!([{"Key": "n", "Value": round + 1}]));
        // Either way it holds the lock, and can go on as if nothing had happened.
        account.unlock(&lock, result["Lock"].as_u64().unwrap()).await;
    }
    assert_eq!(account.count("n", 0).await, 20);
}

#[tokio::test]
async fn a_wait_with_an_id_that_was_given_up_records_nothing() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    let body = r#"{"IdempotencyIDs":["id"],"LockID":"l","LockDur":300,"LockWait":300}"#;
    account.queue_up("l", 1, body).await.hang_up();
    account.until_waiting("l", 0).await;
    account.unlock("l", handle).await;
    assert_eq!(account.db(body).await.number("Lock"), handle + 2);
}

#[tokio::test]
async fn watchers_that_hang_up_disturb_nobody() {
    let account = shared_account();
    let mut gone = Vec::new();
    for _ in 0..20 {
        gone.push(account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await);
    }
    let stays = account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await;
    drop(gone);
    account.set("k", "1").await;
    assert_eq!(stays.answer().await.ok(), json!({"Key": "k", "Version": 1, "Value": 1}));
    eventually("the account still works", || async { (account.set("k", "2").await == 2).then_some(()) })
        .await;
}
