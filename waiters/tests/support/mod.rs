//! A frontend over the store in memory, and requests in short.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests; a panic is how they fail")]

pub mod shared_store;

use bytes::Bytes;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::limits::Limits;
use dragon_core::request::{Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Verdict};
use dragon_memory::MemoryStore;
use dragon_waiters::{Failure, Frontend, WaiterMetrics};
use std::sync::Arc;
use std::time::Duration;

pub fn frontend() -> Frontend {
    Frontend::start(Arc::new(MemoryStore::default()), Default::default(), WaiterMetrics::default())
}

pub fn account() -> Account {
    Account::new("a").unwrap()
}

pub fn key(name: &str) -> Cell {
    Cell::new(&account(), Kind::Value, name)
}

pub fn request(draft: Draft) -> Arc<Request> {
    Arc::new(Request::new(account(), draft, &Limits::default()).unwrap())
}

pub fn lock(wait_s: u64) -> Draft {
    Draft { lock_id: Some("L".into()), lock_dur_s: Some(60), lock_wait_s: Some(wait_s), ..Draft::default() }
}

pub fn unlock(handle: u64) -> Draft {
    Draft { unlock_id: Some("L".into()), unlock: Some(handle), ..Draft::default() }
}

pub fn set(name: &str, value: &str) -> SetDraft {
    SetDraft {
        key: name.into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..SetDraft::default()
    }
}

/// Submits and takes the answer.
pub async fn submit(frontend: &Frontend, draft: Draft) -> Result<String, Failure> {
    let delivery = frontend.submit(request(draft)).await?;
    match delivery.take() {
        Some(Verdict::Applied(applied)) => Ok(String::from_utf8(applied.answer.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Takes the lock and returns the handle.
pub async fn take(frontend: &Frontend, wait_s: u64) -> Result<u64, Failure> {
    acquire(frontend, lock(wait_s)).await
}

/// Submits what takes a lock and returns the handle.
pub async fn acquire(frontend: &Frontend, draft: Draft) -> Result<u64, Failure> {
    let delivery = frontend.submit(request(draft)).await?;
    match delivery.take() {
        Some(Verdict::Applied(applied)) => Ok(applied.granted.unwrap().handle),
        other => panic!("{other:?}"),
    }
}

pub fn is_timeout(failure: &Failure) -> bool {
    matches!(failure, Failure::Rejected(Rejection::LockTimeout { .. }))
}

/// Waits until so many requests wait for the lock (its holder not counted).
pub async fn until_waiting(frontend: &Frontend, count: usize) {
    let limits = Limits::default();
    let query = || {
        let (prefix, after) = (String::new(), String::new());
        dragon_core::page::Query::new(account(), Kind::Lock, prefix, after, None, &limits).unwrap()
    };
    loop {
        let (_, waiting) = frontend.list(&query()).await.unwrap();
        if waiting.first() == Some(&count) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
