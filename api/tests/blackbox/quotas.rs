//! Quotas and bounds: who asks for too much is told so, changes nothing, and takes nothing from others.

use crate::access::TokensFile;
use crate::support::{Account, Answer, Connection, Server, eventually, request_bytes};
use serde_json::json;

const ADD: &str = r#"{"Atomic":[{"Key":"n","Add":1}]}"#;

#[track_caller]
fn assert_too_many(answer: &Answer) {
    answer.refused(429, "too_many_requests", json!({}));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

/// How many of so many requests were applied; the others must have been refused.
async fn applied(connection: &mut Connection, request: &[u8], count: usize) -> u64 {
    let mut applied = 0;
    for _ in 0..count {
        match connection.exchange(request).await {
            answer if answer.status == 200 => applied += 1,
            answer => assert_too_many(&answer),
        }
    }
    applied
}

#[tokio::test]
async fn an_account_over_its_quota_is_refused_and_others_are_not() {
    let server = Server::start_with(&[("DRAGON_QUOTA_REQUESTS", "20")]);
    // Each frontend counts for itself.
    let account = Account::of(&server, "x").on_one_frontend();
    let other = account.named("other");
    let mut connection = Connection::open(account.address()).await;
    let requests = |path: &str| request_bytes(path, ADD.as_bytes());
    let mut sum = 0;
    // However fast or slow the machine is, at some time there are more than 20 in a second.
    eventually("the quota", async || {
        let count = applied(&mut connection, &requests("/db/x"), 100).await;
        sum += count;
        (count < 100).then_some(())
    })
    .await;
    other.db(ADD).await.ok();
    assert_eq!(connection.get("/metrics").await.status, 200);
    let shown = eventually("the quota has grown again", async || {
        let answer = account.db(r#"{"Atomic":[{"Key":"n"}]}"#).await;
        (answer.status == 200).then(|| answer.ok()["Atomic"][0]["Value"].as_u64().unwrap())
    })
    .await;
    assert_eq!(shown, sum, "what was refused has changed nothing");
}

#[tokio::test]
async fn places_to_wait_are_counted_and_given_back() {
    let server = Server::start_with(&[("DRAGON_QUOTA_WAITING", "2")]);
    let account = Account::of(&server, "x").on_one_frontend();
    let handle = account.lock("l", 300).await;
    let wait = r#"{"LockID":"l","LockDur":9,"LockWait":300}"#;
    let watch = r#"{"ID":"k","Version":0,"Wait":300}"#;
    let first = account.queue_up("l", 1, wait).await;
    let second = account.queue_up("l", 2, wait).await;
    assert_too_many(&account.db(wait).await);
    assert_too_many(&account.watch(watch).await);
    // What does not wait needs no place, and another account has its own.
    assert_eq!(account.db(r#"{"LockID":"l","LockDur":9}"#).await.status, 409);
    assert_eq!(account.watch(r#"{"ID":"k","Version":0,"Wait":0}"#).await.status, 204);
    let elsewhere = account.named("other").begin("watch", watch).await;
    first.hang_up();
    // One that watches takes the place, and gives it back.
    for _ in 0..2 {
        eventually("a place is free", async || {
            let answer = account.watch(r#"{"ID":"k","Version":0,"Wait":1}"#).await;
            (answer.status == 204).then_some(())
        })
        .await;
    }
    account.unlock("l", handle).await;
    second.answer().await.ok();
    account.named("other").set("k", "1").await;
    elsewhere.answer().await.ok();
}

#[tokio::test]
async fn what_an_account_stores_is_bounded() {
    const QUOTA: usize = 100_000;
    const KEPT: &str = r#"{"IdempotencyIDs":["kept"],"Atomic":[{"Key":"n","Add":1}]}"#;
    let server = Server::start_with(&[("DRAGON_QUOTA_BYTES", "100000")]);
    let account = Account::of(&server, "x").on_one_frontend();
    let value = format!("\"{}\"", "v".repeat(998));
    let set = |key: usize| format!(r#"{{"KVSet":[{{"Key":"k{key:02}","Value":{value}}}]}}"#);
    account.db(KEPT).await.ok();
    let mut keys = 0;
    // The account's own row, and the value's name and head.
    while 200 + (2 + 1 + 17 + 8) + (keys + 1) * (2 + 1 + 3 + 17 + 1_000) <= QUOTA {
        account.db(set(keys)).await.ok();
        keys += 1;
    }
    eventually("the quota is used up", async || {
        let answer = account.db(set(99)).await;
        let is_refused = answer.status == 429;
        if is_refused {
            assert_too_many(&answer);
        } else {
            account.db(r#"{"KVSet":[{"Key":"k99","Delete":true}]}"#).await.ok();
        }
        is_refused.then_some(())
    })
    .await;
    // Who makes room may give an id with it, and whoever was applied before is owed that answer.
    let again = account.db(KEPT).await;
    assert_eq!((again.status, &again.json()["Code"]), (409, &json!("duplicate_request")), "{}", again.text());
    account.db(r#"{"IdempotencyIDs":["newer"],"KVSet":[{"Key":"k99","Delete":true}]}"#).await.ok();
    // Over and over in the same place it takes no more room; what takes none always passes.
    let other = account.named("other");
    for _ in 0..3 * keys {
        other.db(set(0)).await.ok();
    }
    account.get("k00").await;
    account.db(r#"{"Atomic":[{"Key":"n"}],"KVSet":[{"Key":"k00","Delete":true}]}"#).await.ok();
    eventually("there is room again", async || (account.db(set(99)).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_token_can_have_quotas_of_its_own() {
    let file = TokensFile::new();
    let small = file
        .new_token(&[
            "small",
            "--account",
            "*",
            "--right",
            "write",
            "--quota-requests",
            "2",
            "--quota-waiting",
            "1",
            "--quota-bytes",
            "50",
        ])
        .await;
    let large = file.token("large", "*", "write").await;
    let server = file.server();
    let address = server.address();
    let with = |token: &str, route: &str, body: &str| {
        let head =
            format!("POST /{route}/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let mut connection = Connection::open(address).await;
    let request = with(small.output.trim(), "db", ADD);
    eventually("the quota", async || (applied(&mut connection, &request, 20).await < 20).then_some(())).await;
    assert_eq!(applied(&mut connection, &with(&large, "db", ADD), 20).await, 20);
    // The one's bytes are used up, the other one's are not.
    let small = small.output.trim();
    eventually("the account was measured", async || {
        let answer = connection.exchange(&with(small, "db", ADD)).await;
        answer.text().contains("50 bytes").then(|| assert_too_many(&answer))
    })
    .await;
    assert_eq!(applied(&mut connection, &with(&large, "db", ADD), 1).await, 1);
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::start_with(&[("DRAGON_MAX_CONNECTIONS", "3")]);
    let address = server.address();
    let mut open = Vec::new();
    for _ in 0..3 {
        // One that looked whether the server is ready may be closing still.
        open.push(
            eventually("a place", async || {
                let mut connection = Connection::open(address).await;
                let answer = connection.get("/health/live").await;
                (answer.status == 200).then_some(connection)
            })
            .await,
        );
    }
    let refused = Connection::open(address).await.receive().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["Code"], "unavailable");
    assert!(refused.header("retry-after").is_some());
    for connection in &mut open {
        assert_eq!(connection.get("/health/live").await.status, 200);
    }
    open.pop();
    eventually("the place is free", async || {
        let mut connection = Connection::open(address).await;
        (connection.try_get("/health/live").await.ok()?.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::start();
    let header = format!("A: {}\r\n", "x".repeat(1 << 20));
    let request = format!("GET /health/live HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    let mut connection = Connection::open(server.address()).await;
    // It may close the connection before it has seen all of it.
    drop(connection.send(request.as_bytes()).await);
    if let Ok(answer) = connection.try_receive().await {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    assert_eq!(Connection::open(server.address()).await.get("/health/live").await.status, 200);
}
