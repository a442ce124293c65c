//! How the suite speaks to a store: requests built field by field, and a client that keeps to the
//! store's pipeline depth.

use crate::{Backend, BackendError, Loaded};
use bytes::Bytes;
use dragon_core::UnixMs;
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Applied, Blocked, Rejection, Verdict};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long anything may take that should be quick.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A request in the making.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    account: Account,
    draft: Draft,
    turn: Turn,
}

/// An account's name, checked.
pub(super) fn account(name: &str) -> Account {
    Account::new(name).expect("the suite's names are valid")
}

/// The name of a stored row.
pub(super) fn cell(name: &str, kind: Kind, id: &str) -> Cell {
    Cell::new(&account(name), kind, id)
}

/// Begins a request.
pub(super) fn ask(name: &str) -> Ask {
    Ask { account: account(name), draft: Draft::default(), turn: Turn::First }
}

impl Ask {
    pub(super) fn set(mut self, key: &str, json: impl Into<Bytes>) -> Self {
        let set = SetDraft { key: key.into(), value: Some(json.into()), ..SetDraft::default() };
        self.draft.kv_set.push(set);
        self
    }

    pub(super) fn delete(mut self, key: &str) -> Self {
        self.draft.kv_set.push(SetDraft { key: key.into(), delete: true, ..SetDraft::default() });
        self
    }

    /// Gives the last set a TTL.
    pub(super) fn ttl(mut self, ttl_s: u64) -> Self {
        if let Some(set) = self.draft.kv_set.last_mut() {
            set.ttl_s = Some(ttl_s);
        }
        self
    }

    /// Makes the last set depend on a version.
    pub(super) fn if_version(mut self, version: u64) -> Self {
        if let Some(set) = self.draft.kv_set.last_mut() {
            set.if_version = Some(version);
        }
        self
    }

    pub(super) fn get(mut self, key: &str) -> Self {
        self.draft.kv_get.push(key.into());
        self
    }

    fn atomic(mut self, atomic: AtomicDraft) -> Self {
        self.draft.atomic.push(atomic);
        self
    }

    pub(super) fn count(self, key: &str) -> Self {
        self.atomic(AtomicDraft { key: key.into(), ..AtomicDraft::default() })
    }

    pub(super) fn add(self, key: &str, add: i64) -> Self {
        self.atomic(AtomicDraft { key: key.into(), add: Some(add), ..AtomicDraft::default() })
    }

    pub(super) fn set_counter(self, key: &str, set: i64) -> Self {
        self.atomic(AtomicDraft { key: key.into(), set: Some(set), ..AtomicDraft::default() })
    }

    pub(super) fn delete_counter(self, key: &str) -> Self {
        self.atomic(AtomicDraft { key: key.into(), delete: true, ..AtomicDraft::default() })
    }

    /// Makes the last counter's change depend on its value.
    pub(super) fn if_eq(mut self, value: i64) -> Self {
        if let Some(atomic) = self.draft.atomic.last_mut() {
            atomic.if_eq = Some(value);
        }
        self
    }

    pub(super) fn lock(mut self, id: &str, dur_s: u64) -> Self {
        self.draft.lock_id = Some(id.into());
        self.draft.lock_dur_s = Some(dur_s);
        self
    }

    pub(super) fn owner(mut self, owner: &str) -> Self {
        self.draft.lock_owner = Some(owner.into());
        self
    }

    pub(super) fn unlock(mut self, id: &str, handle: u64) -> Self {
        self.draft.unlock_id = Some(id.into());
        self.draft.unlock = Some(handle);
        self
    }

    /// Others came first for the lock.
    pub(super) fn queued(mut self) -> Self {
        self.turn = Turn::Queued;
        self
    }

    pub(super) fn once(mut self, ids: &[&str]) -> Self {
        self.draft.idempotency_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    pub(super) fn remembered(mut self, ttl_s: u64) -> Self {
        self.draft.idempotency_ttl_s = Some(ttl_s);
        self
    }

    pub(super) fn entry(self) -> Entry {
        let request = Request::new(self.account, self.draft, &Limits::default());
        let request = request.expect("the suite's requests are valid");
        Entry { request: Arc::new(request), turn: self.turn }
    }
}

/// A batch of requests.
pub(super) fn batch(asks: impl IntoIterator<Item = Ask>) -> Arc<[Entry]> {
    asks.into_iter().map(Ask::entry).collect()
}

/// A store, called with no more commits in flight than it allows. Clones share the bound.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) store: Arc<dyn Backend>,
    /// One for all lanes: the suite does not know which account is in which lane.
    pub(super) gate: Arc<Semaphore>,
}

impl Client {
    pub(super) fn new(store: Arc<dyn Backend>) -> Self {
        let gate = Arc::new(Semaphore::new(store.pipeline_depth().max(1)));
        Self { store, gate }
    }

    /// Commits requests of one account as one batch, or as many as the store makes of it. A busy store is
    /// asked again.
    pub(super) async fn commit(&self, asks: impl IntoIterator<Item = Ask>) -> Vec<Verdict> {
        let batch = batch(asks);
        let _permit = self.gate.acquire().await.expect("the gate is never closed");
        let mut verdicts = Vec::with_capacity(batch.len());
        while verdicts.len() < batch.len() {
            let taken = self.commit_some(&batch[verdicts.len()..]).await;
            assert!(!taken.is_empty(), "at least one entry is taken");
            verdicts.extend(taken);
        }
        assert_eq!(verdicts.len(), batch.len(), "one verdict per entry");
        verdicts
    }

    async fn commit_some(&self, batch: &[Entry]) -> Vec<Verdict> {
        for _ in 0..100 {
            match in_time(self.store.commit(batch.into())).await {
                Ok(outcome) => return outcome.verdicts,
                Err(BackendError::Busy(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("the store failed: {error}"),
            }
        }
        panic!("the store stays busy");
    }

    pub(super) async fn verdict(&self, ask: Ask) -> Verdict {
        self.commit([ask]).await.remove(0)
    }

    pub(super) async fn apply(&self, ask: Ask) -> Applied {
        applied(self.verdict(ask).await)
    }

    /// The answer of a request that is applied.
    pub(super) async fn answer(&self, ask: Ask) -> Value {
        json(&self.apply(ask).await.answer)
    }

    pub(super) async fn refusal(&self, ask: Ask) -> Rejection {
        refused(self.verdict(ask).await)
    }

    pub(super) async fn blocked(&self, ask: Ask) -> Blocked {
        match self.verdict(ask).await {
            Verdict::Blocked(blocked) => blocked,
            other => panic!("not blocked but {other:?}"),
        }
    }

    pub(super) async fn load(&self, cells: &[Cell]) -> Loaded {
        let loaded = in_time(self.store.load(cells)).await.expect("the rows are loaded");
        assert_eq!(loaded.rows.len(), cells.len(), "one row per cell");
        loaded
    }

    /// The stamp of a row; 0 = there is none.
    pub(super) async fn stamp(&self, cell: &Cell) -> u64 {
        let loaded = self.load(std::slice::from_ref(cell)).await;
        layout::stamp(cell, loaded.rows[0].as_ref()).expect("the row can be read")
    }

    /// The account's revision.
    pub(super) async fn revision(&self, name: &str) -> u64 {
        self.stamp(&Cell::meta(&account(name))).await
    }

    pub(super) async fn now_ms(&self) -> UnixMs {
        self.store.health().await.expect("the store is well").now_ms
    }

    /// Waits until the store's clock has reached a time.
    pub(super) async fn wait_until(&self, at_ms: UnixMs) {
        in_time(async {
            while let now_ms = self.now_ms().await
                && now_ms < at_ms
            {
                tokio::time::sleep(Duration::from_millis((at_ms - now_ms).min(100))).await;
            }
        })
        .await;
    }

    /// Waits until everything that was to live for so many seconds is over.
    pub(super) async fn outlive(&self, dur_s: u64) {
        let now_ms = self.now_ms().await;
        self.wait_until(now_ms + dur_s * 1_000).await;
    }
}

/// Fails instead of hanging.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it hangs")
}

pub(super) fn applied(verdict: Verdict) -> Applied {
    match verdict {
        Verdict::Applied(applied) => applied,
        other => panic!("not applied but {other:?}"),
    }
}

pub(super) fn refused(verdict: Verdict) -> Rejection {
    match verdict {
        Verdict::Rejected(rejection) => rejection,
        other => panic!("not refused but {other:?}"),
    }
}

pub(super) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("an answer is JSON")
}

/// A number of an answer.
pub(super) fn number(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or_else(|| panic!("no {field} in {answer}"))
}
