//! Accounts that are too large for one transaction, read as of one moment.

use crate::connect;
use crate::sizes::{account, applied, entry, set};
use dragon_contract::conformance::Case;
use dragon_contract::{Backend as _, BackendError, NamedRow, Snapshot};
use dragon_core::batch::Entry;
use dragon_core::cell::{Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout::{Header, write_value};
use dragon_core::replace::{Action, Step};
use dragon_core::request::{Request, SetDraft};
use dragon_foundationdb::FoundationDbStore;
use dragon_private_foundationdb::fresh_address;
use std::sync::Arc;
use std::time::Duration;

pub const CASES: [Case; 4] = [
    ("an_import_ends_snapshots", || Box::pin(an_import_ends_snapshots())),
    ("a_request_may_change_more_than_a_transaction_holds", || {
        Box::pin(a_request_may_change_more_than_a_transaction_holds())
    }),
    ("other_frontends_save_too", || Box::pin(other_frontends_save_too())),
    ("an_abandoned_snapshot_ends", || Box::pin(an_abandoned_snapshot_ends())),
];

const LARGE: usize = 14;

fn key(number: usize) -> String {
    format!("k{number:02}")
}

/// Values that are more than 10 MB together.
async fn fill(store: &FoundationDbStore) {
    for number in 0..LARGE {
        let outcome = store.commit([entry(vec![set(&key(number), 1 << 20, None)])].into()).await;
        assert_eq!(applied(&outcome.expect("it is committed").verdicts), 1);
    }
}

async fn rest(snapshot: &mut Box<dyn Snapshot>) -> Vec<NamedRow> {
    let mut rows = Vec::new();
    loop {
        let more = snapshot.next().await.expect("the snapshot goes on");
        if more.is_empty() {
            return rows;
        }
        rows.extend(more);
    }
}

async fn delete_all(store: &FoundationDbStore) {
    let delete = |number| SetDraft { key: key(number), delete: true, ..SetDraft::default() };
    let outcome = store.commit([entry((0..LARGE).map(delete).collect())].into()).await;
    assert_eq!(applied(&outcome.expect("it is committed").verdicts), 1);
}

async fn assert_whole(mut snapshot: Box<dyn Snapshot>) {
    let rows = rest(&mut snapshot).await;
    assert_eq!(rows.len(), 1 + LARGE);
    for (number, (cell, row)) in rows[1..].iter().enumerate() {
        assert_eq!((cell.id(), row.len()), (key(number).as_str(), 17 + (1 << 20)));
    }
}

/// One request deletes what does not fit into a transaction, and all of that is saved before.
async fn a_request_may_change_more_than_a_transaction_holds() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    fill(&store).await;
    let snapshot = store.snapshot(&account()).await.expect("it begins");
    delete_all(&store).await;
    assert_whole(snapshot).await;
    let mut after = store.snapshot(&account()).await.expect("it begins");
    assert_eq!(rest(&mut after).await.len(), 1);
}

async fn other_frontends_save_too() {
    let address = tokio::task::block_in_place(fresh_address);
    let (store, other) = (connect(&address).await, connect(&address).await);
    fill(&store).await;
    let snapshot = store.snapshot(&account()).await.expect("it begins");
    delete_all(&other).await;
    fill(&other).await;
    let second = other.snapshot(&account()).await.expect("it begins");
    delete_all(&store).await;
    assert_whole(snapshot).await;
    assert_whole(second).await;
}

/// What it puts into its place has revisions that tell nothing of when it came.
async fn an_import_ends_snapshots() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    fill(&store).await;
    let mut snapshot = store.snapshot(&account()).await.expect("it begins");
    assert!(!snapshot.next().await.expect("it goes on").is_empty());
    let before = store.snapshot(&account()).await.expect("it begins");
    let cell = Cell::new(&account(), Kind::Value, "placed");
    let row = write_value(Header { revision: 1, expires_ms: 0 }, b"1");
    let staged = vec![cell.staged(1)];
    for action in [
        Action::Stage(vec![(cell.staged(1), row)]),
        Action::Close(1),
        Action::Clear((0..LARGE).map(|number| Cell::new(&account(), Kind::Value, &key(number))).collect()),
        Action::Cleared,
        Action::Place(staged),
        Action::Open { revision: 1, mark_ms: 0, is_deleted: false },
    ] {
        let request = Request::step(account(), Step { driver: 1, action });
        let entry = Entry { request: Arc::new(request), turn: Turn::First };
        assert_eq!(applied(&store.commit([entry].into()).await.expect("it is committed").verdicts), 1);
    }
    for mut snapshot in [snapshot, before] {
        assert!(matches!(snapshot.next().await, Err(BackendError::Unavailable(_))));
    }
    let mut after = store.snapshot(&account()).await.expect("it begins");
    let rows = rest(&mut after).await;
    assert_eq!(rows.iter().map(|(cell, _)| cell.id()).collect::<Vec<_>>(), ["", "placed"]);
}

/// Who reads nothing for a minute makes nobody save rows any longer, and is told so.
async fn an_abandoned_snapshot_ends() {
    let store = connect(&tokio::task::block_in_place(fresh_address)).await;
    fill(&store).await;
    let mut snapshot = store.snapshot(&account()).await.expect("it begins");
    let kept = store.snapshot(&account()).await.expect("it begins");
    let begun = std::time::Instant::now();
    let mut kept_rows = Some(kept);
    while begun.elapsed() < Duration::from_secs(96) {
        tokio::time::sleep(Duration::from_secs(24)).await;
        // One that is read now and then goes on.
        if let Some(kept) = &mut kept_rows {
            assert!(!kept.next().await.expect("it is kept").is_empty());
        }
    }
    delete_all(&store).await;
    assert!(matches!(snapshot.next().await, Err(BackendError::Unavailable(_))));
    assert!(!rest(&mut kept_rows.take().expect("it is kept")).await.is_empty());
}
