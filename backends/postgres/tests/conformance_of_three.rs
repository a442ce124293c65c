//! The suite that every store passes, on three frontends over one schema that take turns: what one has
//! answered holds for the others.

use dragon_contract::{AccountsPage, Backend, BackendError, CommitFuture, Health, Loaded, Result, Snapshot};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use dragon_postgres::PostgresStore;
use dragon_private_postgres::{fresh_schema, shared_address};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

const FRONTENDS: usize = 3;

/// Each call goes to the next frontend; but a commit goes where the ones are that are still under way, since
/// only one frontend's commits keep the order of the calls.
struct TakingTurns {
    frontends: Vec<PostgresStore>,
    turn: AtomicUsize,
    committing: Arc<AtomicUsize>,
    committer: AtomicUsize,
}

impl TakingTurns {
    fn next(&self) -> &PostgresStore {
        &self.frontends[self.turn.fetch_add(1, Ordering::SeqCst) % FRONTENDS]
    }
}

#[async_trait::async_trait]
impl Backend for TakingTurns {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        if self.committing.fetch_add(1, Ordering::SeqCst) == 0 {
            self.committer.fetch_add(1, Ordering::SeqCst);
        }
        let committer = self.committer.load(Ordering::SeqCst) % FRONTENDS;
        let committed = self.frontends[committer].commit(batch);
        let (done, outcome) = oneshot::channel();
        let committing = Arc::clone(&self.committing);
        tokio::spawn(async move {
            let outcome = committed.await;
            committing.fetch_sub(1, Ordering::SeqCst);
            drop(done.send(outcome));
        });
        let ended = |_| Err(BackendError::OutcomeUnknown("the task ended".into()));
        async move { outcome.await.unwrap_or_else(ended) }.boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.next().load(cells).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.next().changed(cell, seen).await
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.next().scan(query).await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.next().accounts(after, limit).await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.next().snapshot(account).await
    }

    /// One of them is elected to sweep.
    async fn sweep(&self, limit: usize) -> Result<usize> {
        let mut swept = 0;
        for frontend in &self.frontends {
            swept += frontend.sweep(limit).await?;
        }
        Ok(swept)
    }

    async fn health(&self) -> Result<Health> {
        self.next().health().await
    }

    fn lanes(&self) -> usize {
        self.frontends[0].lanes()
    }
}

async fn open() -> (Arc<dyn Backend>, ()) {
    let address = shared_address(&fresh_schema()).parse().expect("an address");
    let mut frontends = Vec::with_capacity(FRONTENDS);
    for _ in 0..FRONTENDS {
        frontends.push(PostgresStore::connect(&address).await.expect("the store opens"));
    }
    let (turn, committer) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let store = TakingTurns { frontends, turn, committing: Arc::default(), committer };
    (Arc::new(store), ())
}

dragon_contract::conformance_suite!(open);
