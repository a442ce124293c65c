//! Watches: no change is missed, deletion and expiry count as changes, many watch one key.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod support;

use dragon_contract::BackendError;
use dragon_core::request::{Draft, SetDraft};
use dragon_waiters::{Failure, Watched};
use std::time::Duration;
use support::shared_store::SharedStore;
use support::{account, frontend, key, set, submit};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

fn put(value: &str) -> Draft {
    Draft { kv_set: vec![set("k", value)], ..Draft::default() }
}

fn version(watched: &Watched) -> u64 {
    let Watched::Changed(answer) = watched else { panic!("{watched:?}") };
    serde_json::from_slice::<serde_json::Value>(answer).unwrap()["Version"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_passes_versions_on_misses_no_change() {
    let frontend = frontend();
    let own = frontend.clone();
    let watcher = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 500 {
            let watched = own.watch(&key("k"), &account(), seen, LONG).await.unwrap();
            let now = version(&watched);
            assert!(now > seen);
            seen = now;
        }
    });
    for number in 0..500 {
        submit(&frontend, put(&number.to_string())).await.unwrap();
        if number % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::timeout(LONG, watcher).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_and_expiry_wake() {
    let frontend = frontend();
    submit(&frontend, put("1")).await.unwrap();
    let own = frontend.clone();
    let watcher = tokio::spawn(async move { own.watch(&key("k"), &account(), 1, LONG).await.unwrap() });
    let delete = SetDraft { key: "k".into(), delete: true, ..SetDraft::default() };
    submit(&frontend, Draft { kv_set: vec![delete], ..Draft::default() }).await.unwrap();
    assert_eq!(version(&watcher.await.unwrap()), 0);

    let short = SetDraft { ttl_s: Some(1), ..set("k", "2") };
    submit(&frontend, Draft { kv_set: vec![short], ..Draft::default() }).await.unwrap();
    let watched = frontend.watch(&key("k"), &account(), 3, LONG).await.unwrap();
    assert_eq!(version(&watched), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_unchanged_and_looking_once_does_not_wait() {
    let frontend = frontend();
    let look = |seen, wait| {
        let own = frontend.clone();
        async move { own.watch(&key("k"), &account(), seen, wait).await.unwrap() }
    };
    assert_eq!(look(0, Duration::ZERO).await, Watched::Unchanged);
    assert_eq!(look(0, Duration::from_millis(50)).await, Watched::Unchanged);
    assert_eq!(version(&look(9, Duration::ZERO).await), 0);
    assert_eq!(version(&look(9, LONG).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_watchers_of_one_key_all_wake() {
    let frontend = frontend();
    submit(&frontend, put("1")).await.unwrap();
    let watchers: Vec<_> = (0..5_000)
        .map(|_| {
            let own = frontend.clone();
            tokio::spawn(async move { own.watch(&key("k"), &account(), 1, LONG).await.unwrap() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    submit(&frontend, put("2")).await.unwrap();
    for watcher in watchers {
        assert_eq!(version(&watcher.await.unwrap()), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_watches() {
    let frontend = frontend();
    let own = frontend.clone();
    let watcher = tokio::spawn(async move { own.watch(&key("k"), &account(), 0, LONG).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    frontend.drain();
    assert!(matches!(watcher.await.unwrap(), Err(Failure::Draining)));
}

#[tokio::test]
async fn a_watch_that_the_store_has_no_room_for_is_refused_at_once() {
    let store = SharedStore { is_full: true, ..SharedStore::new() };
    let frontend = store.frontend();
    submit(&frontend, Draft { kv_set: vec![set("k", "1")], ..Draft::default() }).await.unwrap();
    let (key, account) = (key("k"), account());
    let watching = frontend.watch(&key, &account, 1, Duration::from_secs(300));
    let refused = timeout(Duration::from_secs(5), watching).await.expect("at once").unwrap_err();
    assert!(matches!(refused, Failure::Backend(BackendError::Busy(_))), "{refused:?}");
    // What is new already needs no watch.
    let watching = frontend.watch(&key, &account, 0, Duration::from_secs(300)).await.unwrap();
    assert!(matches!(watching, Watched::Changed(_)));
}

/// "Nothing changed" is an answer too, and must be true.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_shorter_than_a_read_is_answered_by_a_read() {
    let store = SharedStore { load_time: Duration::from_millis(300), ..SharedStore::new() };
    let frontend = store.frontend();
    submit(&frontend, put("1")).await.unwrap();
    let wait = Duration::from_millis(100);
    let watched = frontend.watch(&key("k"), &account(), 0, wait).await.unwrap();
    assert_eq!(version(&watched), 1);
    assert_eq!(frontend.watch(&key("k"), &account(), 1, wait).await.unwrap(), Watched::Unchanged);
}
