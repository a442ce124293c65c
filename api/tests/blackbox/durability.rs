//! Kills without warning: what was answered is there afterwards, and nothing is there twice.

mod load;

use crate::support::{Account, Frontend, Server, only_embedded};
use load::{Ledger, work_until_the_server_is_gone};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

const WRITERS: usize = 8;
const ANSWERS_BEFORE_KILL: u64 = 60;

fn rounds() -> u64 {
    let given = std::env::var("DRAGON_TEST_KILL_ROUNDS").ok();
    given.map_or(5, |rounds| rounds.parse().expect("DRAGON_TEST_KILL_ROUNDS is a number"))
}

#[tokio::test]
async fn a_kill_under_load_loses_nothing_that_was_answered() {
    let mut server = Server::start();
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(Ledger::new).collect();
    for round in 0..rounds() {
        let account = Account::of(&server, "load");
        let mut writers = JoinSet::new();
        for ledger in ledgers.drain(..) {
            writers.spawn(work_until_the_server_is_gone(account.clone(), ledger));
        }
        let sum = account.count("sum", 0).await.cast_unsigned();
        crate::support::eventually("some load", async || {
            (account.count("sum", 0).await.cast_unsigned() >= sum + ANSWERS_BEFORE_KILL).then_some(())
        })
        .await;
        // Each round at another moment of the work.
        tokio::time::sleep(Duration::from_millis(round * 7 % 40)).await;
        server.kill();
        ledgers = writers.join_all().await;
        ledgers.sort_by_key(|ledger| ledger.writer);
        server.start_again();
        check(&Account::of(&server, "load"), &mut ledgers).await;
    }
}

async fn check(account: &Account, ledgers: &mut [Ledger]) {
    let applied_before: u64 = ledgers.iter().map(|ledger| ledger.applied).sum();
    let sum = account.count("sum", 0).await.cast_unsigned();
    let in_doubt = ledgers.iter().filter(|ledger| ledger.in_doubt.is_some()).count() as u64;
    assert!((applied_before..=applied_before + in_doubt).contains(&sum), "{applied_before} {sum} {in_doubt}");
    for ledger in ledgers.iter_mut() {
        ledger.settle(account).await;
        ledger.check(account).await;
    }
    // Every request that was sent has now been applied once, whichever answers were lost.
    let applied: u64 = ledgers.iter().map(|ledger| ledger.applied).sum();
    assert_eq!(account.count("sum", 0).await.cast_unsigned(), applied);
    let mut revisions: Vec<u64> =
        ledgers.iter().flat_map(|ledger| ledger.revisions.iter().copied()).collect();
    let count = revisions.len();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), count, "a revision was given twice");
    let next = account.next_revision().await;
    assert!(revisions.last().is_none_or(|last| next > *last), "{next} after {:?}", revisions.last());
}

#[tokio::test]
async fn everything_is_found_again_after_a_kill() {
    let mut server = Server::start();
    let account = Account::of(&server, "x");
    let value = r#"{"b": 1.10, "a":"\ud800"}"#;
    let version = account.set("k", value).await;
    account
        .db(r#"{"KVSet":[{"Key":"kept","Value":1,"TTL":600},{"Key":"gone","Value":1,"TTL":1}]}"#)
        .await
        .ok();
    account.db(r#"{"Atomic":[{"Key":"n","Set":-7}]}"#).await.ok();
    let held = account.db(r#"{"LockID":"held","LockDur":3600,"LockOwner":"me"}"#).await;
    let short = account.lock("short", 1).await;
    let gone = crate::support::eventually("the end of the TTL", async || {
        let gone = account.get("gone").await.0 == 0 && account.held_lock("short").await.is_none();
        gone.then_some(())
    });
    gone.await;
    for kill in [true, false, true] {
        if kill {
            server.kill();
            server.start_again();
        } else {
            server.restart();
        }
        let account = Account::of(&server, "x");
        assert_eq!(account.get("k").await, (version, Some(value.to_owned())));
        assert_eq!(account.get("kept").await.0, version + 1);
        assert_eq!(account.get("gone").await, (0, None), "what was seen expired stays so");
        assert_eq!(account.count("n", 0).await, -7);
        let shown = json!({"ID": "held", "Lock": held.number("Lock"), "Till": held.number("Till"),
            "Since": held.number("Till") - 3600, "Owner": "me", "Waiting": 0});
        assert_eq!(account.held_lock("held").await.unwrap(), shown);
        let refused = account.db(r#"{"LockID":"held","LockDur":1}"#).await;
        refused.refused(409, "lock_timeout", json!({"Till": held.number("Till"), "Owner": "me"}));
        let stale = json!({"UnlockID": "short", "Unlock": short}).to_string();
        account.db(stale).await.refused(409, "not_locked", json!({"ID": "short"}));
    }
    let account = Account::of(&server, "x");
    let next = account.db(r#"{"LockID":"short","LockDur":300}"#).await;
    assert_eq!(next.ok()["Expired"], true, "the end of a lease is told across restarts");
    assert_eq!(next.number("Lock"), short + 1);
    account.unlock("held", held.number("Lock")).await;
}

#[tokio::test]
async fn those_who_waited_during_a_kill_hold_nothing() {
    let mut server = Server::start();
    let account = Account::of(&server, "x");
    let handle = account.lock("l", 300).await;
    let wait = r#"{"LockID":"l","LockDur":300,"LockWait":300,"Atomic":[{"Key":"n","Add":1}]}"#;
    let mut waiter = account.queue_up("l", 1, wait).await;
    let mut watcher = account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await;
    server.kill();
    assert!(waiter.0.is_closed().await);
    assert!(watcher.0.is_closed().await);
    server.start_again();
    let account = Account::of(&server, "x");
    let shown = account.held_lock("l").await.unwrap();
    assert_eq!((&shown["Lock"], &shown["Waiting"]), (&json!(handle), &json!(0)));
    account.unlock("l", handle).await;
    assert_eq!(account.lock("l", 300).await, handle + 2);
    assert_eq!(account.count("n", 0).await, 0);
}

#[tokio::test]
async fn a_data_folder_serves_one_process() {
    if !only_embedded("a database serves many processes") {
        return;
    }
    let server = Server::start();
    let account = Account::of(&server, "x");
    account.set("k", "1").await;
    let store = format!("embedded:{}", server.data_folder().display());
    let exit = Frontend::run_to_end(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert!(exit.log.contains(&server.data_folder().display().to_string()), "{exit:?}");
    assert!(exit.log.contains("in use"), "{exit:?}");
    assert!(!exit.log.contains("listening"), "{exit:?}");
    assert_eq!(account.set("k", "2").await, 2);
}
