//! Tests that need the inside of the store: what it does with damage, and with an engine that fails.

mod damage;
mod faults;
mod moving;

use crate::{EmbeddedMetrics, EmbeddedStore, LogBounds, OpenError};
use bytes::Bytes;
use dragon_contract::{Backend as _, BackendError, BatchOutcome};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use std::path::Path;
use std::sync::Arc;

fn open(folder: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(folder, LogBounds::default(), EmbeddedMetrics::default())
}

fn account() -> Account {
    Account::new("a").unwrap()
}

/// Adds one to a counter and sets a key of that number to a value of that size, in one request.
fn write(number: u64, value_bytes: usize) -> Arc<[Entry]> {
    let value = Bytes::from(format!("\"{}\"", "x".repeat(value_bytes)));
    let draft = Draft {
        atomic: vec![AtomicDraft { key: "count".into(), add: Some(1), ..AtomicDraft::default() }],
        kv_set: vec![SetDraft { key: format!("key-{number}"), value: Some(value), ..SetDraft::default() }],
        ..Draft::default()
    };
    let request = Request::new(account(), draft, &Limits::default()).unwrap();
    Arc::new([Entry { request: Arc::new(request), turn: Turn::First }])
}

async fn commit(
    store: &EmbeddedStore,
    number: u64,
    value_bytes: usize,
) -> Result<BatchOutcome, BackendError> {
    store.commit(write(number, value_bytes)).await
}

async fn count(store: &EmbeddedStore) -> i64 {
    let cell = Cell::new(&account(), Kind::Counter, "count");
    let loaded = store.load(std::slice::from_ref(&cell)).await.unwrap();
    layout::read_counter(&cell, loaded.rows[0].as_ref()).unwrap()
}

#[tokio::test]
async fn a_load_is_cut_short_rather_than_filling_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for number in 0..40 {
        commit(&store, number, 1_000_000).await.unwrap();
    }
    let cells: Vec<Cell> =
        (0..40).map(|number| Cell::new(&account(), Kind::Value, &format!("key-{number}"))).collect();
    let rows = store.load(&cells).await.unwrap().rows;
    assert!((33..40).contains(&rows.len()), "{} rows", rows.len());
    assert!(rows.iter().all(Option::is_some));
}
