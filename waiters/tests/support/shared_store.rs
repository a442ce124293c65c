//! One frontend's connection to a store that other frontends may use as well.

use dragon_contract::{AccountsPage, Backend, BackendError, CommitFuture, Health, Loaded, Result, Snapshot};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use dragon_memory::MemoryStore;
use dragon_waiters::{Frontend, WaiterMetrics};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[derive(Clone)]
pub struct SharedStore {
    pub store: MemoryStore,
    pub is_shared: bool,
    /// How long a commit's answer takes.
    pub commit_time: Duration,
    /// How long a read takes before it looks.
    pub load_time: Duration,
    /// How long a change takes to be known.
    pub notice_time: Duration,
    /// It has no room for one more watch.
    pub is_full: bool,
}

impl SharedStore {
    /// A new store by tokio's clock that answers at once.
    pub fn new() -> Self {
        let begun = Instant::now();
        let store = MemoryStore::new(Arc::new(move || 1 + begun.elapsed().as_millis() as u64));
        let (commit_time, load_time, notice_time) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Self { store, is_shared: true, commit_time, load_time, notice_time, is_full: false }
    }

    pub fn frontend(&self) -> Frontend {
        Frontend::start(Arc::new(self.clone()), Default::default(), WaiterMetrics::default())
    }
}

#[async_trait::async_trait]
impl Backend for SharedStore {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let (committed, commit_time) = (self.store.commit(batch), self.commit_time);
        Box::pin(async move {
            if !commit_time.is_zero() {
                sleep(commit_time).await;
            }
            committed.await
        })
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        if !self.load_time.is_zero() {
            sleep(self.load_time).await;
        }
        self.store.load(cells).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        if self.is_full {
            return Err(BackendError::Busy("full".into()));
        }
        self.store.changed(cell, seen).await?;
        if !self.notice_time.is_zero() {
            sleep(self.notice_time).await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.store.scan(query).await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.store.accounts(after, limit).await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.store.snapshot(account).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        self.store.sweep(limit).await
    }

    async fn health(&self) -> Result<Health> {
        self.store.health().await
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }
}
