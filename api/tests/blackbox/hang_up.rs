//! Clients that hang up: waiting, at the grant, and after it.

use crate::support::{Account, Connection, eventually, request_bytes, shared_account};
use serde_json::{Value, json};
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
async fn who_hangs_up_with_more_requests_sent_ahead_leaves_the_queue_too() {
    // The length of a queue is shown by the frontend that it is at.
    let account = shared_account().on_one_frontend();
    let handle = account.lock("l", 300).await;
    let mut connection = Connection::open(account.address()).await;
    let mut bytes = request_bytes(&account.path("db"), WAIT.as_bytes());
    bytes.extend(request_bytes(&account.path("db"), br#"{"KVGet":[{"Key":"k"}]}"#));
    connection.send(&bytes).await.unwrap();
    account.until_waiting("l", 1).await;
    drop(connection);
    account.until_waiting("l", 0).await;
    account.unlock("l", handle).await;
    assert_eq!(account.lock("l", 300).await, handle + 2);
}

#[tokio::test]
async fn who_hangs_up_after_one_more_request_leaves_the_queue_too() {
    // The length of a queue is shown by the frontend that it is at.
    let account = shared_account().on_one_frontend();
    let handle = account.lock("l", 300).await;
    let mut connection = Connection::open(account.address()).await;
    connection.send(&request_bytes(&account.path("db"), WAIT.as_bytes())).await.unwrap();
    account.until_waiting("l", 1).await;
    // By now nobody reads on: these bytes lie between the server and the end of the stream.
    connection.send(&request_bytes(&account.path("db"), br#"{"KVGet":[{"Key":"k"}]}"#)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(connection);
    account.until_waiting("l", 0).await;
    account.unlock("l", handle).await;
    assert_eq!(account.lock("l", 300).await, handle + 2);
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

const PAUSES: u64 = 40;

/// Pauses that end somewhere around the grant, from before it to after it.
fn pauses() -> impl Iterator<Item = Duration> {
    (0..PAUSES).map(|step| Duration::from_micros(100 * step))
}

/// The thread itself sleeps: the runtime's timers know no less than a millisecond.
fn sleep_exactly(pause: Duration) {
    std::thread::sleep(pause);
}

#[tokio::test]
async fn a_lock_granted_to_one_who_hangs_up_meanwhile_is_free_at_once() {
    let account = shared_account();
    let mut handle = account.lock("l", 300).await;
    let mut lost = 0;
    for pause in pauses() {
        let waiter = account.queue_up("l", 1, WAIT).await;
        let unlock = account.begin("db", json!({"UnlockID": "l", "Unlock": handle}).to_string()).await;
        sleep_exactly(pause);
        let answered = waiter.hang_up_unless_answered().await;
        unlock.answer().await.ok();
        if let Some(granted) = answered {
            account.unlock("l", granted.number("Lock")).await;
        }
        let next = account.db(r#"{"LockID":"l","LockDur":300,"LockWait":1}"#).await;
        handle = if next.status == 200 {
            assert_eq!(next.ok().get("Expired"), None);
            next.number("Lock")
        } else {
            // The answer left the server in the instant in which the client went: it counts as given.
            lost += 1;
            account.held_lock("l").await.unwrap()["Lock"].as_u64().unwrap()
        };
    }
    assert!(lost <= PAUSES / 2, "{lost} of {PAUSES} locks were left to clients that were gone");
}

#[tokio::test]
async fn a_result_that_nobody_took_is_told_to_the_retry() {
    let account = shared_account();
    let mut applied = 0;
    for pause in pauses() {
        applied += 1;
        let lock = format!("l{applied}");
        let body = json!({"IdempotencyIDs": [lock], "LockID": lock, "LockDur": 300, "LockWait": 30,
            "Atomic": [{"Key": "n", "Add": 1}]});
        let first = account.begin("db", body.to_string()).await;
        sleep_exactly(pause);
        first.hang_up();
        let result = result_of_retry(&account, &body).await;
        assert_eq!(result["Atomic"], json!([{"Key": "n", "Value": applied}]));
        account.unlock(&lock, result["Lock"].as_u64().unwrap()).await;
    }
    assert_eq!(account.count("n", 0).await, applied);
}

#[tokio::test]
async fn a_grant_that_nobody_took_is_kept_for_the_retry() {
    let account = shared_account();
    let mut handle = account.lock("l", 300).await;
    for (round, pause) in pauses().enumerate() {
        let body =
            json!({"IdempotencyIDs": [round.to_string()], "LockID": "l", "LockDur": 300, "LockWait": 30});
        let waiter = account.queue_up("l", 1, body.to_string()).await;
        let unlock = account.begin("db", json!({"UnlockID": "l", "Unlock": handle}).to_string()).await;
        sleep_exactly(pause);
        waiter.hang_up();
        unlock.answer().await.ok();
        handle = result_of_retry(&account, &body).await["Lock"].as_u64().unwrap();
    }
    account.unlock("l", handle).await;
}

/// Sends a request again whose answer was lost. Either the first one had not been applied, or its answer
/// is told. Both ways the lock is held, and the client can go on as if nothing had happened.
async fn result_of_retry(account: &Account, body: &Value) -> Value {
    let retry = account.db(body.to_string()).await;
    if retry.status == 200 {
        return retry.ok();
    }
    let told = retry.json();
    let fields = json!({"ID": body["IdempotencyIDs"][0], "Response": told["Response"], "SameRequest": true});
    retry.refused(409, "duplicate_request", fields);
    told["Response"].clone()
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
