//! Going down in order: those who wait are told, what runs finishes.

use crate::support::{Account, Connection, Server, eventually, request_bytes};
use serde_json::json;

/// Long enough to look around in, however slow the machine is.
const DRAIN_DELAY: (&str, &str) = ("DRAGON_DRAIN_DELAY", "10");

async fn until_not_ready(server: &Server) {
    for address in server.addresses() {
        let answer = eventually("not ready", async || {
            // A connection each: the last "ready" may be the answer after which one is closed.
            let answer = Connection::open(address).await.get("/health/ready").await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        answer.refused(503, "unavailable", json!({}));
    }
}

#[tokio::test]
async fn those_who_wait_are_told_and_what_runs_finishes() {
    let mut server = Server::start_with(&[DRAIN_DELAY]);
    let account = Account::of(&server, "x");
    let handle = account.lock("l", 300).await;
    let wait = r#"{"LockID":"l","LockDur":300,"LockWait":300,"Atomic":[{"Key":"n","Add":1}]}"#;
    let mut waiting = vec![account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await];
    for waiter in 1..=3 {
        waiting.push(account.queue_up("l", waiter, wait).await);
    }
    // Its head has arrived, its body has not.
    let running = request_bytes(&account.path("db"), br#"{"KVSet":[{"Key":"running","Value":1}]}"#);
    let mut late = Connection::open(server.address()).await;
    late.send(&running[..running.len() - 5]).await.unwrap();
    account.get("k").await;

    server.terminate();
    until_not_ready(&server).await;
    assert_eq!(Connection::open(server.address()).await.get("/health/live").await.status, 200);
    for pending in waiting {
        pending.answer().await.refused(503, "unavailable", json!({}));
    }
    // New waits are told so too; what needs no wait is served until the end.
    account.db(wait).await.refused(503, "unavailable", json!({}));
    let watch = r#"{"ID":"k","Version":0,"Wait":300}"#;
    account.watch(watch).await.refused(503, "unavailable", json!({}));
    late.exchange(&running[running.len() - 5..]).await.ok();
    account.unlock("l", handle).await;

    let exit = server.wait_for_exit();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    server.start_again();
    let account = Account::of(&server, "x");
    assert_eq!(account.get("running").await.1.as_deref(), Some("1"));
    assert_eq!(account.count("n", 0).await, 0);
    assert!(account.held_lock("l").await.is_none(), "nobody who was told 503 got the lock");
}

/// Else they would all come to the other servers in the same second.
#[tokio::test]
async fn those_who_are_sent_away_come_back_at_different_times() {
    let server = Server::start_with(&[DRAIN_DELAY]);
    let account = Account::of(&server, "x");
    let watch = r#"{"ID":"k","Version":0,"Wait":300}"#;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(account.begin("watch", watch).await);
    }
    server.terminate();
    let mut times = std::collections::BTreeSet::new();
    for pending in waiting {
        let answer = pending.answer().await;
        answer.refused(503, "unavailable", json!({}));
        times.insert(answer.header("retry-after").unwrap().parse::<u64>().unwrap());
    }
    assert!(times.len() > 1 && times.iter().all(|time| (1..=5).contains(time)), "{times:?}");
}

#[tokio::test]
async fn a_server_nobody_talks_to_goes_down_at_once() {
    let mut server = Server::start_with(&[("DRAGON_DRAIN_DELAY", "0")]);
    let account = Account::of(&server, "x");
    account.count("n", 1).await;
    // An idle connection, which must not keep it up.
    let mut idle = Connection::open(server.address()).await;
    assert_eq!(idle.get("/health/live").await.status, 200);
    server.terminate();
    assert!(idle.is_closed().await);
    let exit = server.wait_for_exit();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
}

#[tokio::test]
async fn nothing_answered_while_going_down_is_lost() {
    let mut server = Server::start_with(&[("DRAGON_DRAIN_DELAY", "1")]);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let address = server.address();
        writers.spawn(async move {
            let body = json!({"Atomic": [{"Key": format!("n{writer}"), "Add": 1}]}).to_string();
            let mut answered = 0;
            while let Ok(mut connection) = Connection::try_open(address).await {
                while let Ok(answer) = connection.try_post("/db/x", body.as_bytes()).await {
                    if answer.status == 200 {
                        answered += 1;
                    } else {
                        answer.refused(503, "unavailable", json!({}));
                    }
                }
            }
            (writer, answered)
        });
    }
    let account = Account::of(&server, "x");
    eventually("some load", || async { (account.count("n7", 0).await >= 20).then_some(()) }).await;
    server.terminate();
    let answered = writers.join_all().await;
    assert_eq!(server.wait_for_exit().code, Some(0));
    server.start_again();
    let account = Account::of(&server, "x");
    for (writer, count) in answered {
        // A connection may be closed under a request that was not begun: then it was not applied.
        assert_eq!(account.count(&format!("n{writer}"), 0).await, count);
    }
}
