//! A counter, and short requests: for tests of several frontends and of faults.

use crate::{Backend, BackendError, Result};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::Verdict;
use std::sync::Arc;

fn account() -> Account {
    Account::new("account").expect("a valid name")
}

/// The counter that everything here is about.
#[must_use]
pub fn counter() -> Cell {
    Cell::new(&account(), Kind::Counter, "c")
}

/// A batch that adds one to the counter.
#[must_use]
pub fn increment() -> Arc<[Entry]> {
    let atomic = vec![AtomicDraft { key: "c".into(), add: Some(1), ..AtomicDraft::default() }];
    batch_of(Draft { atomic, ..Draft::default() })
}

/// A batch that sets a value which lives for a second.
fn short_lived() -> Arc<[Entry]> {
    let value = Some(bytes::Bytes::from_static(b"1"));
    let kv_set = vec![SetDraft { key: "k".into(), value, ttl_s: Some(1), ..SetDraft::default() }];
    batch_of(Draft { kv_set, ..Draft::default() })
}

/// A batch that sets these keys.
#[must_use]
pub fn setting(keys: impl Iterator<Item = String>) -> Arc<[Entry]> {
    let value = Some(bytes::Bytes::from_static(b"1"));
    let set = |key| SetDraft { key, value: value.clone(), ..SetDraft::default() };
    batch_of(Draft { kv_set: keys.map(set).collect(), ..Draft::default() })
}

fn batch_of(draft: Draft) -> Arc<[Entry]> {
    let request = Request::new(account(), draft, &Limits::default()).expect("a valid request");
    Arc::new([Entry { request: Arc::new(request), turn: Turn::First }])
}

/// Adds one, and gives the counter's new value as the answer told it.
///
/// # Errors
/// The store's.
///
/// # Panics
/// When it is not applied.
pub async fn add_one(store: &dyn Backend) -> Result<i64> {
    let outcome = store.commit(increment()).await?;
    let [Verdict::Applied(applied)] = outcome.verdicts.as_slice() else {
        panic!("not applied: {:?}", outcome.verdicts)
    };
    let answer: serde_json::Value = serde_json::from_slice(&applied.answer).expect("JSON");
    Ok(answer["Atomic"][0]["Value"].as_i64().expect("a number"))
}

/// The stored value and its stamp, once the database is back.
///
/// # Panics
/// When it does not come back in ten seconds.
pub async fn stored(store: &dyn Backend) -> (i64, u64) {
    for _ in 0..100 {
        match store.load(&[counter()]).await {
            Ok(loaded) => {
                let row = loaded.rows[0].as_ref();
                let value = layout::read_counter(&counter(), row).expect("a counter");
                return (value, layout::stamp(&counter(), row).expect("a row"));
            }
            Err(BackendError::Busy(_) | BackendError::Unavailable(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => panic!("the counter can't be read: {error}"),
        }
    }
    panic!("the database does not come back")
}

/// A sweep, of a store that sweeps beside its batches, marks the accounts: so a batch that was decided before the
/// expiry, and comes only now, is refused.
///
/// # Panics
/// When it does not, or fails.
pub async fn sweep_marks_the_account(store: &dyn Backend) {
    store.commit(short_lived()).await.expect("it is committed");
    let meta = Cell::meta(&account());
    let mark_ms = async || {
        let rows = store.load(std::slice::from_ref(&meta)).await.expect("it is read").rows;
        layout::read_meta(&meta, rows[0].as_ref()).expect("a row").mark_ms
    };
    let before_ms = store.health().await.expect("it is well").now_ms;
    assert!(mark_ms().await < before_ms);
    while store.sweep(100).await.expect("it sweeps") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(mark_ms().await >= before_ms);
}
