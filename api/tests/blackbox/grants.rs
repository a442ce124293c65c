//! What a request that waited for its lock sees and does at the moment it is granted.

use crate::support::shared_account;
use serde_json::json;

const WAIT: &str = r#""LockID":"l","LockDur":300,"LockWait":300"#;

#[tokio::test]
async fn the_rest_is_applied_in_the_instant_of_the_grant() {
    let account = shared_account();
    account.set("k", "\"before\"").await;
    let handle = account.lock("l", 300).await;
    let body = format!(
        r#"{{{WAIT},"KVGet":[{{"Key":"k"}}],"KVSet":[{{"Key":"k","Value":"waiter"}}],"Atomic":[{{"Key":"n","Add":1}}]}}"#
    );
    let waiter = account.queue_up("l", 1, body).await;
    assert_eq!(account.count("n", 0).await, 0, "it does nothing while it waits");
    let unlock = json!({"UnlockID": "l", "Unlock": handle, "KVSet": [{"Key": "k", "Value": "holder"}]});
    let unlocked = account.db(unlock.to_string()).await.number("Version");
    let answer = waiter.answer().await.ok();
    assert_eq!(answer["KV"], json!([{"Key": "k", "Version": unlocked, "Value": "holder"}]));
    assert_eq!(answer["Lock"], answer["Version"]);
    assert_eq!(answer["Version"], unlocked + 1);
    assert_eq!(account.get("k").await, (unlocked + 1, Some("\"waiter\"".into())));
}

#[tokio::test]
async fn conditions_are_looked_at_only_when_the_lock_is_granted() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    // Fails now, holds later; holds now, fails later.
    let first =
        format!(r#"{{{WAIT},"KVSet":[{{"Key":"mine","Value":1}},{{"Key":"k","Value":2,"IfVersion":0}}]}}"#);
    let second = format!(r#"{{{WAIT},"Atomic":[{{"Key":"n","Add":1,"IfEq":7}}]}}"#);
    let first = account.queue_up("l", 1, first).await;
    let second = account.queue_up("l", 2, second).await;
    let version = account.set("k", "1").await;
    account.db(r#"{"Atomic":[{"Key":"n","Set":7}]}"#).await.ok();
    account.unlock("l", handle).await;
    first.answer().await.refused(409, "precondition_failed", json!({"Key": "k", "Version": version}));
    // The refused one has not taken the lock: the next one gets it at once.
    let granted = second.answer().await.ok();
    assert_eq!(granted["Atomic"], json!([{"Key": "n", "Value": 8}]));
    assert_eq!(account.get("mine").await, (0, None));
}

#[tokio::test]
async fn a_row_of_refused_heads_holds_nobody_up() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    let refused = format!(r#"{{{WAIT},"Atomic":[{{"Key":"n","IfEq":1}}]}}"#);
    let mut heads = Vec::new();
    for head in 1..=10 {
        heads.push(account.queue_up("l", head, &refused).await);
    }
    let last = account.queue_up("l", 11, format!("{{{WAIT}}}")).await;
    account.unlock("l", handle).await;
    for head in heads {
        head.answer().await.refused(409, "precondition_failed", json!({"Key": "n", "Value": 0}));
    }
    assert_eq!(last.answer().await.number("Lock"), handle + 2);
}

#[tokio::test]
async fn an_id_used_before_is_refused_without_a_wait() {
    let account = shared_account();
    account.db(r#"{"IdempotencyIDs":["used"]}"#).await.ok();
    account.lock("l", 300).await;
    let body = format!(r#"{{"IdempotencyIDs":["used"],{WAIT}}}"#);
    let fields = json!({"ID": "used", "Response": {}, "SameRequest": false});
    account.db(body).await.refused(409, "duplicate_request", fields);
    let body = format!(r#"{{"UnlockID":"never","Unlock":1,{WAIT}}}"#);
    account.db(body).await.refused(409, "not_locked", json!({"ID": "never"}));
}

#[tokio::test]
async fn an_id_used_during_the_wait_is_refused_at_the_grant() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    let body = format!(r#"{{"IdempotencyIDs":["id"],{WAIT},"Atomic":[{{"Key":"n","Add":1}}]}}"#);
    let first = account.queue_up("l", 1, &body).await;
    let retry = account.queue_up("l", 2, &body).await;
    let other = account.queue_up("l", 3, format!("{{{WAIT}}}")).await;
    account.unlock("l", handle).await;
    let first = first.answer().await;
    let granted = first.number("Lock");
    // The retry is told the first one's result as soon as it is its turn.
    account.unlock("l", granted).await;
    let fields = json!({"ID": "id", "Response": first.ok(), "SameRequest": true});
    retry.answer().await.refused(409, "duplicate_request", fields);
    other.answer().await.ok();
    assert_eq!(account.count("n", 0).await, 1);
}

#[tokio::test]
async fn an_unlock_that_is_stale_at_the_grant_refuses_the_request() {
    let account = shared_account();
    let passed = account.lock("passed", 300).await;
    let handle = account.lock("l", 300).await;
    let body =
        format!(r#"{{"UnlockID":"passed","Unlock":{passed},{WAIT},"KVSet":[{{"Key":"k","Value":1}}]}}"#);
    let waiter = account.queue_up("l", 1, body).await;
    let next = account.queue_up("l", 2, format!("{{{WAIT}}}")).await;
    account.unlock("passed", passed).await;
    account.unlock("l", handle).await;
    waiter.answer().await.refused(409, "not_locked", json!({"ID": "passed"}));
    next.answer().await.ok();
    assert_eq!(account.get("k").await, (0, None));
}
