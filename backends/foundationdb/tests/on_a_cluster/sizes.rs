//! What is larger than the cluster takes at once.

use crate::connect;
use bytes::Bytes;
use dragon_contract::Backend as _;
use dragon_contract::conformance::Case;
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::limits::{Limits, REQUEST_BYTES_MAX};
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::Verdict;
use dragon_private_foundationdb::fresh_address;
use std::sync::Arc;

pub const CASES: [Case; 5] = [
    ("versions_of_large_values_are_cheap", || Box::pin(versions_of_large_values_are_cheap())),
    ("a_batch_of_small_rows_is_cut_too", || Box::pin(a_batch_of_small_rows_is_cut_too())),
    ("the_largest_request_of_the_longest_keys", || Box::pin(the_largest_request_of_the_longest_keys())),
    ("a_batch_is_cut_to_what_fits", || Box::pin(a_batch_is_cut_to_what_fits())),
    ("no_piece_of_a_larger_value_stays_behind", || Box::pin(no_piece_of_a_larger_value_stays_behind())),
];

const KEYS: usize = 1_000;

pub fn account() -> Account {
    Account::new(&"a".repeat(128)).expect("a name")
}

pub fn set(key: &str, value_bytes: usize, ttl_s: Option<u64>) -> SetDraft {
    let value = Bytes::from(format!("\"{}\"", "v".repeat(value_bytes - 2)));
    SetDraft { key: key.into(), value: Some(value), ttl_s, ..SetDraft::default() }
}

pub fn entry(kv_set: Vec<SetDraft>) -> Entry {
    let draft = Draft { kv_set, ..Draft::default() };
    let request = Request::new(account(), draft, &Limits::default()).expect("a valid request");
    Entry { request: Arc::new(request), turn: Turn::First }
}

pub fn applied(verdicts: &[Verdict]) -> usize {
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied(_))), "{verdicts:?}");
    verdicts.len()
}

async fn the_largest_request_of_the_longest_keys() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    let key = |number: usize| format!("{number:04}{}", "k".repeat(508));
    // With quotes and names in the body, no more than this is left for each value.
    let value_bytes = REQUEST_BYTES_MAX / KEYS - 512 - 40;
    for (ttl_s, if_version) in
        [(None, None), (Some(3_600), None), (Some(7_200), None), (Some(9_000), Some(3))]
    {
        let set = |number| SetDraft { if_version, ..set(&key(number), value_bytes, ttl_s) };
        let sets = (0..KEYS).map(set).collect();
        let outcome = store.commit([entry(sets)].into()).await.expect("it is committed");
        assert_eq!(applied(&outcome.verdicts), 1);
    }
    let cells: Vec<Cell> = (0..KEYS).map(|number| Cell::new(&account(), Kind::Value, &key(number))).collect();
    let rows = store.load(&cells).await.expect("they are read").rows;
    assert!(rows.iter().all(|row| row.as_ref().is_some_and(|row| row.len() > value_bytes)));
}

async fn a_batch_is_cut_to_what_fits() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    let batch: Vec<Entry> =
        (0..12).map(|number| entry(vec![set(&format!("large-{number}"), 1 << 20, None)])).collect();
    let mut left = batch.as_slice();
    let mut commits = 0;
    while !left.is_empty() {
        let outcome = store.commit(left.into()).await.expect("it is committed");
        left = &left[applied(&outcome.verdicts)..];
        commits += 1;
    }
    assert!((2..=4).contains(&commits), "{commits}");
}

/// All of them could not be read in a transaction's five seconds.
async fn versions_of_large_values_are_cheap() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    const LARGE: usize = 400;
    let key = |number: usize| format!("large-{number:03}");
    for first in (0..LARGE).step_by(8) {
        let sets = (first..first + 8).map(|number| set(&key(number), 1 << 20, None));
        let batch: Vec<Entry> = sets.map(|set| entry(vec![set])).collect();
        let mut left = batch.as_slice();
        while !left.is_empty() {
            left = &left[applied(&store.commit(left.into()).await.expect("it is committed").verdicts)..];
        }
    }
    let sets = (0..LARGE).map(|number| {
        let version = Some(number as u64 + 1);
        SetDraft { if_version: version, ..set(&key(number), 2, None) }
    });
    let outcome = store.commit([entry(sets.collect())].into()).await.expect("it is committed");
    assert_eq!(applied(&outcome.verdicts), 1);
}

/// Counters of the longest names are small, but their names are told four times.
async fn a_batch_of_small_rows_is_cut_too() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    let batch: Vec<Entry> = (0..8)
        .map(|request| {
            let key = |number| format!("{request}-{number:03}{}", "k".repeat(500));
            let add = |number| AtomicDraft { key: key(number), add: Some(1), ..AtomicDraft::default() };
            let draft = Draft { atomic: (0..KEYS).map(add).collect(), ..Draft::default() };
            let request = Request::new(account(), draft, &Limits::default()).expect("a valid request");
            Entry { request: Arc::new(request), turn: Turn::First }
        })
        .collect();
    let mut left = batch.as_slice();
    while !left.is_empty() {
        let outcome = store.commit(left.into()).await.expect("it is committed");
        left = &left[applied(&outcome.verdicts)..];
    }
}

/// Seen through the row, which must not have what was behind it, and a page, which must not stumble over it.
async fn no_piece_of_a_larger_value_stays_behind() {
    use dragon_core::page::Query;
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    let cell = Cell::new(&account(), Kind::Value, "k");
    for bytes in [1 << 20, 10, 500_000, 95_000, 200_000, 2] {
        let outcome = store.commit([entry(vec![set("k", bytes, None)])].into()).await.expect("committed");
        applied(&outcome.verdicts);
        let row = store.load(std::slice::from_ref(&cell)).await.expect("it is read").rows.remove(0);
        assert_eq!(row.expect("it is there").len(), 17 + bytes);
        let query =
            Query::new(account(), Kind::Value, String::new(), String::new(), None, &Limits::default());
        let page = store.scan(&query.expect("a query")).await.expect("a page");
        assert_eq!(page.shown.len(), 1);
        assert_eq!(page.shown[0].row.len(), 17 + bytes);
    }
}
