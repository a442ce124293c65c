//! The log is moved while commits go on, so that neither it nor what it takes in memory grows with the life
//! of the server.

use super::{account, commit, count, open};
use crate::database::keep_log;
use crate::{EmbeddedMetrics, EmbeddedStore, LogBounds};
use bytes::Bytes;
use dragon_contract::Backend as _;
use dragon_core::batch::Entry;
use dragon_core::cell::Kind;
use dragon_core::decide::Turn;
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::page::Query;
use dragon_core::request::{Draft, Request, SetDraft};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A thousand keys, spread so that each lies on a page of its own.
fn scattered(round: u64) -> Arc<[Entry]> {
    let set = |number: u64| {
        let key = (number + round * 1_000).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 50_000;
        SetDraft {
            key: format!("{key:05}-{number:03}"),
            value: Some(Bytes::from_static(b"1")),
            ..SetDraft::default()
        }
    };
    let draft = Draft { kv_set: (0..1_000).map(set).collect(), ..Draft::default() };
    let request = Request::new(account(), draft, &Limits::default()).unwrap();
    Arc::new([Entry { request: Arc::new(request), turn: Turn::First }])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_small_under_an_unbroken_stream_of_commits() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = LogBounds::of_files(1 << 20);
    let store = EmbeddedStore::open(folder.path(), bounds, EmbeddedMetrics::default()).unwrap();
    let mut before = store.commit(scattered(0));
    let mut largest_bytes = 0;
    for round in 1..150 {
        let next = store.commit(scattered(round));
        before.await.unwrap();
        before = next;
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
        let sizes = files.filter(|file| file.file_name() != "store.db").map(|file| file.metadata());
        largest_bytes = largest_bytes.max(sizes.map(|metadata| metadata.map_or(0, |file| file.len())).sum());
    }
    before.await.unwrap();
    assert!(crate::log::numbers(folder.path()).unwrap()[0] > 4, "hardly anything was moved");
    // SQLite's log holds a page for each row of a transaction, at worst, and more while a reader is at it.
    assert!(largest_bytes < 150 << 20, "the logs had {largest_bytes} bytes");
}

/// Something else has locked the database: nothing can be moved. What was answered stays, in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_moved_is_kept_and_moved_later() {
    for is_unlocked_while_closing in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let bounds = LogBounds::of_files(64 << 10);
        let store = EmbeddedStore::open(folder.path(), bounds, EmbeddedMetrics::default()).unwrap();
        let other = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
        keep_log(&other).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        // More than one file of the log, less than what makes commits wait.
        for number in 0..25 {
            commit(&store, number, 3_000).await.unwrap();
        }
        let closed = tokio::spawn({
            let store = store.clone();
            async move { store.close().await }
        });
        if is_unlocked_while_closing {
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            other.execute_batch("COMMIT").unwrap();
        }
        closed.await.unwrap();
        drop((store, other));
        let store = open(folder.path()).unwrap();
        assert_eq!(count(&store).await, 25);
        commit(&store, 25, 10).await.unwrap();
        store.close().await;
        drop(store);
        assert_eq!(count(&open(folder.path()).unwrap()).await, 26);
    }
}

/// What is in layers and database, and has moved from one to the other, is one to who reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_see_layers_and_database_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    for opened in 0..3 {
        let store = open(folder.path()).unwrap();
        for number in 0..60_u64 {
            let key = format!("k{:03}", (number * 7 + opened * 3) % 100);
            let value = format!("{}", opened * 1_000 + number);
            let is_gone = number % 5 == opened;
            let set = SetDraft {
                key: key.clone(),
                value: (!is_gone).then(|| Bytes::from(value.clone())),
                delete: is_gone,
                ..SetDraft::default()
            };
            let draft = Draft { kv_set: vec![set], ..Draft::default() };
            let request = Request::new(account(), draft, &Limits::default()).unwrap();
            let entry = Entry { request: Arc::new(request), turn: Turn::First };
            store.commit(Arc::new([entry])).await.unwrap();
            if is_gone {
                expected.remove(&key);
            } else {
                expected.insert(key, value);
            }
            if number % 20 == 0 || number == 59 {
                assert_eq!(listed(&store).await, expected);
            }
        }
        // What is left of this round is in the database from here on.
        store.close().await;
    }
    assert_eq!(listed(&open(folder.path()).unwrap()).await, expected);
}

async fn listed(store: &EmbeddedStore) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut after = String::new();
    loop {
        let query =
            Query::new(account(), Kind::Value, "k".into(), after.clone(), Some(7), &Limits::default());
        let page = store.scan(&query.unwrap()).await.unwrap();
        for shown in &page.shown {
            let value = String::from_utf8(layout::value(&shown.row).to_vec()).unwrap();
            assert_eq!(all.insert(shown.cell.id().to_owned(), value), None);
            assert!(shown.cell.id() > after.as_str());
            after = shown.cell.id().to_owned();
        }
        if !page.more {
            return all;
        }
    }
}
