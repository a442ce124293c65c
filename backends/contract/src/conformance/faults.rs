//! A store that fails when it is told to: for the tests of what calls stores.

use crate::{AccountsPage, Backend, BackendError, CommitFuture, Health, Loaded, NamedRow, Result, Snapshot};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use futures_util::FutureExt as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// [`BackendError::Busy`]; nothing is done.
    Busy,
    /// [`BackendError::Unavailable`]; nothing is done.
    Unavailable,
    /// [`BackendError::Corrupt`]; nothing is done.
    Corrupt,
    /// [`BackendError::OutcomeUnknown`]; nothing is done, and nobody can tell.
    UnknownAndLost,
    /// [`BackendError::OutcomeUnknown`] after the batch was committed.
    UnknownAndCommitted,
}

impl Fault {
    /// Every way to fail.
    pub const ALL: [Self; 5] =
        [Self::Busy, Self::Unavailable, Self::Corrupt, Self::UnknownAndLost, Self::UnknownAndCommitted];

    /// Whether only a commit can fail like this.
    #[must_use]
    pub fn is_of_commits_only(self) -> bool {
        matches!(self, Self::UnknownAndLost | Self::UnknownAndCommitted)
    }

    /// The error that the caller gets.
    #[must_use]
    pub fn error(self) -> BackendError {
        let detail = format!("injected: {self:?}");
        match self {
            Self::Busy => BackendError::Busy(detail),
            Self::Unavailable => BackendError::Unavailable(detail),
            Self::Corrupt => BackendError::Corrupt(detail),
            Self::UnknownAndLost | Self::UnknownAndCommitted => BackendError::OutcomeUnknown(detail),
        }
    }
}

/// A store whose n-th call fails, once. Calls that can't fail in that way are not counted:
/// outcomes are unknown of commits only.
pub struct Faulty {
    store: Arc<dyn Backend>,
    state: Arc<State>,
}

struct State {
    fault: Fault,
    calls_left: AtomicUsize,
    has_failed: AtomicBool,
}

/// Its steps are calls too.
struct FaultySnapshot {
    snapshot: Box<dyn Snapshot>,
    state: Arc<State>,
}

#[async_trait::async_trait]
impl Snapshot for FaultySnapshot {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        self.state.check()?;
        self.snapshot.next().await
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Faulty")
            .field("fault", &self.state.fault)
            .field("calls_left", &self.state.calls_left)
            .field("has_failed", &self.state.has_failed)
            .finish_non_exhaustive()
    }
}

impl Faulty {
    /// Wraps a store. The first call is number 1; number 0 never comes.
    #[must_use]
    pub fn new(store: Arc<dyn Backend>, fault: Fault, nth_call: usize) -> Arc<Self> {
        let (calls_left, has_failed) = (AtomicUsize::new(nth_call), AtomicBool::new(false));
        Arc::new(Self { store, state: Arc::new(State { fault, calls_left, has_failed }) })
    }

    /// Whether the fault has come up.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state.has_failed.load(Ordering::SeqCst)
    }

    /// The store beneath, which does not fail.
    #[must_use]
    pub fn sound(&self) -> &Arc<dyn Backend> {
        &self.store
    }
}

impl State {
    /// Counts a call. Whether it is the one that fails.
    fn is_due(&self, is_commit: bool) -> bool {
        if self.fault.is_of_commits_only() && !is_commit {
            return false;
        }
        let count_down = |left: usize| left.checked_sub(1);
        let is_due = self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) == Ok(1);
        if is_due {
            self.has_failed.store(true, Ordering::SeqCst);
        }
        is_due
    }

    fn check(&self) -> Result<()> {
        if self.is_due(false) { Err(self.fault.error()) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl Backend for Faulty {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        if !self.state.is_due(true) {
            return self.store.commit(batch);
        }
        let error = self.state.fault.error();
        if self.state.fault != Fault::UnknownAndCommitted {
            return async move { Err(error) }.boxed();
        }
        let committed = self.store.commit(batch);
        async move { Err(committed.await.err().unwrap_or(error)) }.boxed()
    }

    async fn turn(&self, lane: usize) {
        self.store.turn(lane).await;
    }

    fn pass(&self, lane: usize) {
        self.store.pass(lane);
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.state.check()?;
        self.store.load(cells).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.state.check()?;
        self.store.changed(cell, seen).await
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.state.check()?;
        self.store.scan(query).await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.state.check()?;
        self.store.accounts(after, limit).await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.state.check()?;
        let snapshot = self.store.snapshot(account).await?;
        Ok(Box::new(FaultySnapshot { snapshot, state: Arc::clone(&self.state) }))
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        self.state.check()?;
        self.store.sweep(limit).await
    }

    async fn health(&self) -> Result<Health> {
        self.state.check()?;
        self.store.health().await
    }

    fn lanes(&self) -> usize {
        self.store.lanes()
    }

    fn pipeline_depth(&self) -> usize {
        self.store.pipeline_depth()
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// Runs a scenario again and again, each time on a fresh store, so that every one of its calls fails
/// once in every way: the first call first, then the second one, until a run is over before its
/// fault comes up.
///
/// # Panics
/// When the scenario does, after printing which call failed how; and when it makes no end of calls.
pub async fn at_every_call(open: impl AsyncFn() -> Arc<dyn Backend>, scenario: impl AsyncFn(Arc<Faulty>)) {
    const CALLS_MAX: usize = 10_000;
    for fault in Fault::ALL {
        for nth_call in 1.. {
            assert!(nth_call <= CALLS_MAX, "the scenario makes no end of calls");
            println!("call {nth_call} fails with {fault:?}");
            let faulty = Faulty::new(open().await, fault, nth_call);
            scenario(Arc::clone(&faulty)).await;
            if !faulty.has_failed() {
                break;
            }
        }
    }
}
