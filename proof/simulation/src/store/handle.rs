//! The store as one frontend sees it, for as long as that frontend lives.

use super::Store;
use crate::plan::Mode;
use dragon_contract::{
    AccountsPage, Backend, BackendError, CommitFuture, Health, Loaded, Result, Snapshot, mark_accounts,
};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One frontend's way to the store.
#[derive(Debug)]
pub struct Handle {
    store: Arc<Store>,
    is_alive: Arc<AtomicBool>,
}

impl Handle {
    /// A frontend's way to the store, from its start on.
    #[must_use]
    pub fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store), is_alive: Arc::new(AtomicBool::new(true)) }
    }

    /// The frontend's process is dead: nothing that is left of it does anything from now on, but for what is
    /// on its way already.
    pub fn kill(&self) {
        self.is_alive.store(false, Ordering::SeqCst);
        self.store.recover();
    }

    fn check(&self) -> Result<()> {
        if self.is_alive.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(BackendError::Unavailable("the frontend has died".into()))
    }
}

#[async_trait::async_trait]
impl Backend for Handle {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        if let Err(error) = self.check() {
            return async move { Err(error) }.boxed();
        }
        match self.store.plan.mode {
            Mode::Embedded => self.store.commit_embedded(&self.is_alive, &batch),
            Mode::Shared => self.store.commit_shared(&self.is_alive, batch),
        }
    }

    async fn turn(&self, _lane: usize) {
        if self.store.plan.mode == Mode::Shared {
            self.store.pause().await;
        }
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.check()?;
        self.store.load(cells).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.check()?;
        self.store.changed(cell, seen).await
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.check()?;
        self.store.scan(query).await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.check()?;
        self.store.accounts(after, limit).await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.check()?;
        Ok(Box::new(self.store.snapshot(account).await?))
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        self.check()?;
        let expired = self.store.expired(limit)?;
        if self.store.plan.mode == Mode::Shared {
            let cells: Vec<Cell> = expired.iter().map(|(cell, _)| cell.clone()).collect();
            mark_accounts(self, &cells).await?;
            self.check()?;
        }
        Ok(self.store.delete_unchanged(expired))
    }

    async fn health(&self) -> Result<Health> {
        self.check()?;
        let now_ms = self.store.state.lock().now_ms(&self.store.clock);
        Ok(Health { now_ms })
    }

    fn lanes(&self) -> usize {
        self.store.plan.lanes
    }

    fn pipeline_depth(&self) -> usize {
        match self.store.plan.mode {
            Mode::Embedded => 2,
            Mode::Shared => 1,
        }
    }

    fn is_shared(&self) -> bool {
        self.store.plan.frontends > 1
    }
}
