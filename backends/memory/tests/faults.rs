//! The fault-injecting wrapper: each call of a scenario fails once in every way, and a batch of
//! unknown outcome was applied or not, as the fault says.

// Helpers outside of `#[test]` functions: what can't happen may panic here.
#![allow(clippy::unwrap_used)]

use dragon_contract::conformance::faults::{Fault, Faulty, at_every_call};
use dragon_contract::{Backend, BackendError};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request};
use dragon_memory::MemoryStore;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

fn counter() -> Cell {
    Cell::new(&Account::new("a").unwrap(), Kind::Counter, "c")
}

fn increment() -> Arc<[Entry]> {
    let add = AtomicDraft { key: "c".into(), add: Some(1), ..AtomicDraft::default() };
    let draft = Draft { atomic: vec![add], ..Draft::default() };
    let request = Request::new(Account::new("a").unwrap(), draft, &Limits::default()).unwrap();
    [Entry { request: Arc::new(request), turn: Turn::First }].into()
}

async fn count(store: &dyn Backend) -> i64 {
    let row = store.load(&[counter()]).await.unwrap().rows.remove(0);
    layout::read_counter(&counter(), row.as_ref()).unwrap()
}

async fn open() -> Arc<dyn Backend> {
    Arc::new(MemoryStore::default())
}

#[tokio::test]
async fn a_fault_comes_up_once_at_its_call() {
    for fault in Fault::ALL {
        let faulty = Faulty::new(open().await, fault, 2);
        assert!(faulty.commit(increment()).await.is_ok());
        assert!(!faulty.has_failed());
        let error = faulty.commit(increment()).await.unwrap_err();
        assert!(faulty.has_failed());
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&fault.error()));
        assert!(faulty.commit(increment()).await.is_ok());
        let lost = i64::from(fault != Fault::UnknownAndCommitted);
        assert_eq!(count(&**faulty.sound()).await, 3 - lost, "{fault:?}");
    }
}

#[tokio::test]
async fn every_call_fails_once_in_every_way() {
    let failures = RefCell::new(BTreeMap::new());
    at_every_call(open, async |faulty| {
        let outcomes = [
            faulty.health().await.map(|_| ()),
            faulty.commit(increment()).await.map(|_| ()),
            faulty.load(&[counter()]).await.map(|_| ()),
            faulty.changed(&counter(), u64::MAX).await,
            faulty.sweep(1).await.map(|_| ()),
            faulty.accounts(None, 1).await.map(|_| ()),
            faulty.commit(increment()).await.map(|_| ()),
        ];
        for (call, outcome) in outcomes.into_iter().enumerate() {
            let Err(error) = outcome else { continue };
            let is_of_commits_only = matches!(error, BackendError::OutcomeUnknown(_));
            assert!(!is_of_commits_only || [1, 6].contains(&call), "{error} of call {call}");
            *failures.borrow_mut().entry(call).or_insert(0) += 1;
        }
    })
    .await;
    let expected = [(0, 3), (1, 5), (2, 3), (3, 3), (4, 3), (5, 3), (6, 5)];
    assert_eq!(failures.into_inner(), BTreeMap::from(expected));
}
