//! What the HTTP side calls: commit a request, watch a key, list a name space.

use crate::lock_queues::LockQueues;
use crate::metrics::WaiterMetrics;
use crate::place::{Surroundings, acquire};
use crate::watch_hub::WatchHub;
use bytes::Bytes;
use dragon_contract::{AccountsPage, Backend, BackendError};
use dragon_core::cell::{Account, Cell};
use dragon_core::decide::Turn;
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use dragon_core::request::Request;
use dragon_core::verdict::{Rejection, Verdict};
use dragon_lanes::{Delivery, Handoff, LaneMetrics, Lanes};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why there is no answer of the wished-for kind.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request was refused; nothing of it was applied.
    #[error("the request was refused: {0:?}")]
    Rejected(Rejection),
    /// The store could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The server is going down; nothing was applied.
    #[error("the server is going down")]
    Draining,
}

/// What a watch ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The key has another version than the one given: the answer's JSON.
    Changed(Bytes),
    /// Nothing changed in the time given.
    Unchanged,
}

/// One frontend: lanes, lock queues and watches over a store.
#[derive(Clone)]
pub struct Frontend {
    backend: Arc<dyn Backend>,
    lanes: Lanes,
    queues: Arc<LockQueues>,
    watches: Arc<WatchHub>,
    drain: CancellationToken,
}

impl fmt::Debug for Frontend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Frontend")
            .field("draining", &self.drain.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Frontend {
    /// Starts a frontend on the current runtime.
    #[must_use]
    pub fn start(backend: Arc<dyn Backend>, lane_metrics: LaneMetrics, metrics: WaiterMetrics) -> Self {
        let queues = Arc::new(LockQueues::new(Arc::clone(&backend), metrics.clone()));
        let handoff: Arc<dyn Handoff> = Arc::clone(&queues) as _;
        let lanes = Lanes::start(Arc::clone(&backend), handoff, lane_metrics);
        let drain = CancellationToken::new();
        let watches = Arc::new(WatchHub::new(Arc::clone(&backend), lanes.clone(), drain.clone(), metrics));
        Self { backend, lanes, queues, watches, drain }
    }

    /// Applies a request, waiting for its lock if it wants one. Dropping the future means that the
    /// client hung up. The delivery must be taken when the answer goes out.
    ///
    /// # Errors
    /// [`Failure`]; nothing was applied unless it is [`BackendError::OutcomeUnknown`].
    pub async fn submit(&self, request: Arc<Request>) -> Result<Delivery, Failure> {
        let delivery = if request.is_read() {
            self.lanes.read(request).await?
        } else if let Some(wanted) = request.wanted().cloned() {
            let around = Surroundings {
                queues: &self.queues,
                lanes: &self.lanes,
                backend: &self.backend,
                drain: &self.drain,
            };
            // Boxed, as is a watch: what does not wait has no need of the room.
            Box::pin(acquire(around, request, &wanted)).await?
        } else {
            self.lanes.commit(request, Turn::First).await?
        };
        match delivery.verdict() {
            Some(Verdict::Rejected(rejection)) => Err(Failure::Rejected(rejection.clone())),
            Some(Verdict::Applied(_)) => Ok(delivery),
            // Only a request that wants a lock is blocked, and `acquire` waits for it.
            Some(Verdict::Blocked(_)) | None => Err(Failure::Draining),
        }
    }

    /// Waits until the key's version is not `seen`.
    ///
    /// # Errors
    /// [`Failure::Backend`] or [`Failure::Draining`].
    pub async fn watch(
        &self,
        key: &Cell,
        account: &Account,
        seen: u64,
        wait: Duration,
    ) -> Result<Watched, Failure> {
        if wait.is_zero() {
            return self.watches.look_once(key, account, seen).await;
        }
        Box::pin(self.watches.watch(key, account, seen, wait)).await
    }

    /// Reads one page of a name space, and for each lock in it how many wait for it here.
    ///
    /// # Errors
    /// [`Failure::Backend`].
    pub async fn list(&self, query: &Query) -> Result<(Page, Vec<usize>), Failure> {
        let mut page = self.backend.scan(query).await?;
        // What is left out as expired must stay so; a write that was on its way may have renewed it.
        while page.needs_mark {
            mark(&self.lanes, &query.account).await?;
            page = self.backend.scan(query).await?;
        }
        if page.is_replaced {
            return Err(Failure::Rejected(Rejection::Replacing));
        }
        let waiting = page.shown.iter().map(|shown| self.queues.waiting(&shown.cell)).collect();
        Ok((page, waiting))
    }

    /// The accounts after the given one, in order, but for the servers' own and those in which nothing was ever written: an
    /// import that was refused leaves the row of such a one.
    ///
    /// # Errors
    /// [`Failure::Backend`].
    pub async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage, Failure> {
        let mut accounts = Vec::new();
        let mut after = after.cloned();
        loop {
            let page = self.backend.accounts(after.as_ref(), limit + 1).await?;
            after = page.accounts.last().cloned();
            let metas: Vec<Cell> = page.accounts.iter().map(Cell::meta).collect();
            let rows = self.backend.load(&metas).await?.rows;
            for ((account, meta), row) in page.accounts.into_iter().zip(&metas).zip(&rows) {
                let is_there = layout::read_meta(meta, row.as_ref()).map_err(BackendError::from)?.is_there();
                if is_there && !account.is_system() {
                    accounts.push(account);
                }
            }
            if accounts.len() > limit || !page.more {
                let more = accounts.len() > limit;
                accounts.truncate(limit);
                return Ok(AccountsPage { accounts, more });
            }
        }
    }

    /// Whether the store can do its work and the server is not going down.
    ///
    /// # Errors
    /// Why it is not ready.
    pub async fn ready(&self) -> Result<(), Failure> {
        if self.drain.is_cancelled() {
            return Err(Failure::Draining);
        }
        self.backend.health().await?;
        Ok(())
    }

    /// The store, for what goes past lanes and queues: reading accounts as a whole.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Whether the server is going down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Goes down: everything that waits is told so, now and from now on.
    pub fn drain(&self) {
        self.drain.cancel();
    }
}

/// An import is putting other content into an account's place, which does not take long.
pub(crate) fn being_replaced() -> BackendError {
    BackendError::Busy("an import is replacing the account's content".into())
}

/// Fixes the account's time mark at now, because an expiry is about to be shown.
pub(crate) async fn mark(lanes: &Lanes, account: &Account) -> Result<(), BackendError> {
    lanes.commit(Arc::new(Request::mark(account.clone())), Turn::First).await.map(drop)
}
