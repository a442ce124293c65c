//! Watches: nothing is missed, whatever happens to the connection.

use crate::place::{ACCOUNT, Place};
use crate::support;
use dragon_client::{Account, Error};
use futures_util::StreamExt as _;
use serde_json::json;

const CHANGES: u64 = 60;

/// Reads changes until one has this value; their versions rise all the way. Gives how many there were.
async fn follow(account: Account, last: u64) -> usize {
    let mut changes = account.watch("k").stream();
    let (mut version, mut count) = (0, 0);
    loop {
        let change = changes.next().await.unwrap().unwrap();
        assert!(change.version > version, "{} after {version}", change.version);
        (version, count) = (change.version, count + 1);
        if change.json::<u64>().unwrap() == Some(last) {
            return count;
        }
    }
}

#[tokio::test]
async fn versions_rise_to_the_last_write_over_restarts_and_cut_connections() {
    let mut place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let follower = tokio::spawn(follow(account, CHANGES));
    for change in 1..=CHANGES {
        place.account().set("k", &change).await.unwrap();
        match change % 20 {
            5 => proxy.cut(),
            10 => proxy.lose_answers(2),
            15 => {
                place.restart();
                proxy.lead_to(place.server.address());
            }
            _ => {}
        }
    }
    let seen = follower.await.unwrap();
    assert!(seen <= CHANGES as usize);
}

#[tokio::test]
async fn deletion_and_making_again_are_seen() {
    let place = Place::start();
    let account = place.account();
    let first = account.set("k", &1).await.unwrap();
    let mut watch = account.watch("k").after(first);
    account.delete("k").await.unwrap();
    let gone = watch.changed().await.unwrap();
    assert!(!gone.exists() && gone.value.is_none());
    assert_eq!(watch.version(), 0);
    let second = account.set("k", &()).await.unwrap();
    let made = watch.changed().await.unwrap();
    assert!(second > first);
    assert_eq!((made.version, made.value.unwrap().get()), (second, "null"));
}

#[tokio::test]
async fn a_wait_that_is_over_is_begun_again_and_one_that_is_dropped_loses_nothing() {
    let place = Place::start();
    let account = place.account();
    let mut watch = account.watch("k").wait(std::time::Duration::from_secs(1));
    // Longer than one wait.
    let over = tokio::time::timeout(std::time::Duration::from_millis(1_500), watch.changed()).await;
    assert!(over.is_err());
    let version = account.set("k", &1).await.unwrap();
    assert_eq!(watch.changed().await.unwrap().version, version);
}

#[tokio::test]
async fn a_watch_that_does_not_wait_is_refused() {
    let place = Place::start();
    let error = place.account().watch("k").wait(std::time::Duration::ZERO).changed().await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn an_error_that_does_not_pass_ends_the_stream() {
    let place = Place::start();
    let mut changes = place.account().watch("").stream();
    assert!(changes.next().await.unwrap().is_err());
    assert!(changes.next().await.is_none());
    // The server lives on.
    let raw = support::Account::at(&[place.server.address()], ACCOUNT);
    raw.db(json!({"KVGet": [{"Key": "k"}]}).to_string()).await.ok();
}
