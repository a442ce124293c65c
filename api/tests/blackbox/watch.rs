//! Watches: at once, later, or not at all, and never a change missed.

use crate::support::{Account, Answer, shared_account};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

fn assert_no_content(answer: &Answer) {
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(answer.body.is_empty());
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(answer.header("content-type"), None);
}

#[tokio::test]
async fn another_version_is_answered_at_once_higher_or_lower() {
    let account = shared_account();
    account.set("filler", "0").await;
    let version = account.set("k", r#"{"a": 1}"#).await;
    let now = json!({"Key": "k", "Version": version, "Value": {"a": 1}});
    for seen in [0, version - 1, version + 1, i64::MAX as u64] {
        for wait_s in [0, 300] {
            let body = json!({"ID": "k", "Version": seen, "Wait": wait_s}).to_string();
            assert_eq!(account.watch(body).await.ok(), now);
        }
    }
    let missing = account.watch(r#"{"ID":"none","Version":5,"Wait":300}"#).await.ok();
    assert_eq!(missing, json!({"Key": "none", "Version": 0}));
}

#[tokio::test]
async fn nothing_changed_is_204_at_the_end_of_the_wait() {
    let account = shared_account();
    let version = account.set("k", "1").await;
    assert_no_content(&account.watch(json!({"ID": "k", "Version": version, "Wait": 0}).to_string()).await);
    assert_no_content(&account.watch(r#"{"ID":"none","Version":0,"Wait":0}"#).await);
    let begun = Instant::now();
    let same = account.begin("watch", json!({"ID": "k", "Version": version, "Wait": 1}).to_string()).await;
    let none = account.begin("watch", r#"{"ID":"none","Version":0,"Wait":1}"#).await;
    // What is not the key does not count: another key, account, counter, lock.
    account.set("k2", "1").await;
    account.other().set("none", "1").await;
    account.count("k", 1).await;
    account.count("none", 1).await;
    account.lock("k", 1).await;
    assert_no_content(&same.answer().await);
    assert_no_content(&none.answer().await);
    assert!(begun.elapsed() >= Duration::from_millis(950), "it waited only {:?}", begun.elapsed());
}

#[tokio::test]
async fn every_kind_of_change_wakes_the_watcher() {
    let account = shared_account();
    let mut version = 0;
    for (change, is_there) in [
        (r#"{"KVSet":[{"Key":"k","Value":"made"}]}"#, true),
        (r#"{"KVSet":[{"Key":"k","Value":"made"}]}"#, true),
        (r#"{"KVSet":[{"Key":"k","Delete":true}]}"#, false),
        (r#"{"KVSet":[{"Key":"k","Value":"made"}],"LockID":"l","LockDur":300}"#, true),
    ] {
        let body = json!({"ID": "k", "Version": version, "Wait": 300}).to_string();
        let watcher = account.begin("watch", body).await;
        let changed = account.db(change).await.number("Version");
        let expected = if is_there {
            json!({"Key": "k", "Version": changed, "Value": "made"})
        } else {
            json!({"Key": "k", "Version": 0})
        };
        assert_eq!(watcher.answer().await.ok(), expected);
        version = expected["Version"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn expiry_wakes_the_watcher() {
    let account = shared_account();
    let version = account.db(r#"{"KVSet":[{"Key":"k","Value":1,"TTL":1}]}"#).await.number("Version");
    let watcher = account.begin("watch", json!({"ID": "k", "Version": version}).to_string()).await;
    assert_eq!(watcher.answer().await.ok(), json!({"Key": "k", "Version": 0}));
    assert_eq!(account.get("k").await, (0, None));
}

#[tokio::test]
async fn a_change_by_a_granted_waiter_wakes_the_watcher() {
    let account = shared_account();
    let handle = account.lock("l", 300).await;
    let body = r#"{"LockID":"l","LockDur":300,"LockWait":300,"KVSet":[{"Key":"k","Value":1}]}"#;
    let waiter = account.queue_up("l", 1, body).await;
    let watcher = account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await;
    account.unlock("l", handle).await;
    let version = waiter.answer().await.number("Version");
    assert_eq!(watcher.answer().await.ok(), json!({"Key": "k", "Version": version, "Value": 1}));
}

#[tokio::test]
async fn many_watchers_of_one_key_all_hear_of_it() {
    let account = shared_account();
    let mut watchers = Vec::new();
    for _ in 0..200 {
        watchers.push(account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await);
    }
    assert_eq!(account.set("k", "1").await, 1);
    for watcher in watchers {
        assert_eq!(watcher.answer().await.ok(), json!({"Key": "k", "Version": 1, "Value": 1}));
    }
}

/// Follows a key until its value is `last`, passing each version on to the next watch.
async fn follow(account: Account, last: u64) -> Vec<(u64, u64)> {
    let mut seen = vec![(0, 0)];
    while seen.last().is_none_or(|(_, value)| *value != last) {
        let version = seen.last().unwrap().0;
        let body = json!({"ID": "k", "Version": version, "Wait": 300}).to_string();
        let answer: Value = account.watch(body).await.ok();
        seen.push((answer["Version"].as_u64().unwrap(), answer["Value"].as_u64().unwrap()));
    }
    seen
}

#[tokio::test]
async fn no_change_is_missed_by_those_who_pass_the_version_on() {
    const CHANGES: u64 = 300;
    let account = shared_account();
    let mut watchers = JoinSet::new();
    for _ in 0..4 {
        watchers.spawn(follow(account.clone(), CHANGES));
    }
    let mut written = vec![(0, 0)];
    for value in 1..=CHANGES {
        written.push((account.set("k", &value.to_string()).await, value));
        if value % 50 == 0 {
            // Let the watchers catch up and wait again: the next change meets them all waiting.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Each ends only when it has seen the last change, and none saw what was never there.
    for seen in watchers.join_all().await {
        assert!(seen.is_sorted_by(|one, next| one < next));
        assert!(seen.iter().all(|change| written.contains(change)));
    }
}

#[tokio::test]
async fn a_handshake_of_watches_goes_on_and_on() {
    // Two sides, each of which writes only when it saw the other's change: one missed change stops both.
    const TURNS: u64 = 100;
    let account = shared_account();
    let mut sides = JoinSet::new();
    for (mine, theirs, first) in [("ping", "pong", true), ("pong", "ping", false)] {
        let account = account.clone();
        sides.spawn(async move {
            let mut seen = 0;
            for turn in 1..=TURNS {
                if first {
                    account.set(mine, &turn.to_string()).await;
                }
                let body = json!({"ID": theirs, "Version": seen, "Wait": 300}).to_string();
                let answer = account.watch(body).await.ok();
                assert_eq!(answer["Value"], turn);
                seen = answer["Version"].as_u64().unwrap();
                if !first {
                    account.set(mine, &turn.to_string()).await;
                }
            }
        });
    }
    sides.join_all().await;
}
