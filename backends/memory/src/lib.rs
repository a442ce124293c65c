//! A [`Backend`] in memory: the model that the other stores are compared with, and what
//! `--store memory:` serves for trials and tests. Nothing outlives the process.

use bytes::Bytes;
use dragon_contract::{
    AccountsPage, Backend, BackendError, BatchOutcome, CommitFuture, Gathered, Health, Loaded, Result,
    Snapshot, Wakeups, stored_cell,
};
use dragon_core::UnixMs;
use dragon_core::batch::{Decided, Entry, decide_batch};
use dragon_core::cell::{Account, Cell, all_of, past};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Rows;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the store's time comes from.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// The store.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    wakeups: Wakeups,
    clock: Clock,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Bytes, Bytes>,
    latest_ms: UnixMs,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStore")
            .field("rows", &self.state.lock().rows.len())
            .finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Arc::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since_epoch.as_millis() as UnixMs
        }))
    }
}

impl Rows for &mut State {
    type Error = BackendError;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>> {
        Ok(self.rows.get(cell.as_bytes()).cloned())
    }
}

impl MemoryStore {
    /// An empty store by the given clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { state: Arc::default(), wakeups: Wakeups::default(), clock }
    }

    /// The time, never earlier than it was before.
    fn now_ms(&self, state: &mut State) -> UnixMs {
        state.latest_ms = state.latest_ms.max((self.clock)());
        state.latest_ms
    }

    fn commit_now(&self, batch: &[Entry]) -> Result<BatchOutcome> {
        let mut state = self.state.lock();
        let now_ms = self.now_ms(&mut state);
        let Decided { verdicts, writes } = decide_batch(batch, &mut &mut *state, now_ms)?;
        for (cell, row) in &writes {
            match row {
                Some(row) => state.rows.insert(cell.as_bytes().clone(), row.clone()),
                None => state.rows.remove(cell.as_bytes()),
            };
        }
        drop(state);
        self.wakeups.wake(writes.keys());
        Ok(BatchOutcome { now_ms, verdicts })
    }
}

#[async_trait::async_trait]
impl Backend for MemoryStore {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let outcome = self.commit_now(&batch);
        async move { outcome }.boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        let mut state = self.state.lock();
        let now_ms = self.now_ms(&mut state);
        let rows = cells.iter().map(|cell| state.rows.get(cell.as_bytes()).cloned()).collect();
        Ok(Loaded { now_ms, rows })
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        let registration = self.wakeups.register(cell);
        let row = self.state.lock().rows.get(cell.as_bytes()).cloned();
        if layout::stamp(cell, row.as_ref())? == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        let mut state = self.state.lock();
        let now_ms = self.now_ms(&mut state);
        let mut page = Page::begin(query, state.rows.get(query.meta().as_bytes()), now_ms)?;
        let stem = query.stem();
        for (name, row) in state.rows.range(Bytes::from(query.from())..) {
            if !name.starts_with(&stem) || page.push(stored_cell(name.clone())?, row.clone())?.is_break() {
                break;
            }
        }
        Ok(page)
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        let state = self.state.lock();
        let mut page = AccountsPage::default();
        let mut from = after.map_or_else(Bytes::new, |account| past(account).into());
        while let Some((name, _)) = state.rows.range((Bound::Included(from), Bound::Unbounded)).next() {
            if page.accounts.len() == limit {
                page.more = true;
                break;
            }
            let account = stored_cell(name.clone())?.account();
            from = past(&account).into();
            page.accounts.push(account);
        }
        Ok(page)
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        let state = self.state.lock();
        let names = all_of(account);
        let rows = state.rows.range(Bytes::from(names.start)..Bytes::from(names.end));
        let rows: Result<Vec<_>> =
            rows.map(|(name, row)| Ok((stored_cell(name.clone())?, row.clone()))).collect();
        Ok(Box::new(Gathered::new(rows?)))
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        let mut state = self.state.lock();
        let now_ms = self.now_ms(&mut state);
        let mut expired = Vec::new();
        for (name, row) in &state.rows {
            if expired.len() == limit {
                break;
            }
            let cell = stored_cell(name.clone())?;
            if layout::sweep_at_ms(&cell, row)?.is_some_and(|sweep_at_ms| sweep_at_ms <= now_ms) {
                expired.push(cell);
            }
        }
        for cell in &expired {
            state.rows.remove(cell.as_bytes());
        }
        drop(state);
        self.wakeups.wake(&expired);
        Ok(expired.len())
    }

    async fn health(&self) -> Result<Health> {
        let now_ms = self.now_ms(&mut self.state.lock());
        Ok(Health { now_ms })
    }
}
