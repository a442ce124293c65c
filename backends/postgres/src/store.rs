//! The [`Backend`]: hands batches to the committer in the order of the calls, reads beside it, and
//! keeps the tasks of one store.

use crate::address::Address;
use crate::committer::{Committer, Job};
use crate::failure::{ConnectError, Failure};
use crate::listener;
use crate::notifier::Notifier;
use crate::reading;
use crate::rows::{self, StoreClock};
use crate::session::Sessions;
use crate::watches::Watches;
use dragon_contract::{AccountsPage, Backend, BackendError, CommitFuture, Health, Loaded, Result};
use dragon_core::batch::{Entry, RowMap};
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use sqlx::PgPool;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait for an answer of the database to a read.
const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// One frontend's hold on a store. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

struct Shared {
    pool: PgPool,
    clock: StoreClock,
    watches: Arc<Watches>,
    notifier: Notifier,
    /// `None` once the store is closed.
    jobs: Mutex<Option<UnboundedSender<Job>>>,
    committing: Mutex<Option<JoinHandle<()>>>,
    /// Tasks that run as long as the store.
    beside: [JoinHandle<()>; 3],
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresStore").field("pool", &self.0.pool).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store in this schema of the database, making it if need be. Many frontends may do so
    /// at once.
    ///
    /// # Errors
    /// [`ConnectError`], in words for the operator.
    pub async fn connect(address: &Address) -> std::result::Result<Self, ConnectError> {
        let address = Sessions::new(address);
        address.create().await?;
        let (clock, watches) = (StoreClock::default(), Arc::new(Watches::default()));
        let (notifier, changes) = Notifier::new();
        let committer =
            Committer::start(address.clone(), clock.clone(), Arc::clone(&watches), notifier.clone()).await?;
        let heard = listener::listen(&address).await?;
        let pool = address.pool();
        let (jobs, queue) = unbounded_channel();
        let beside = [
            tokio::spawn(changes.tell_all(pool.clone(), address.channel())),
            tokio::spawn(listener::look(pool.clone(), Arc::clone(&watches))),
            tokio::spawn(listener::hear(heard, address, Arc::clone(&watches))),
        ];
        Ok(Self(Arc::new(Shared {
            pool,
            clock,
            watches,
            notifier,
            jobs: Mutex::new(Some(jobs)),
            committing: Mutex::new(Some(tokio::spawn(committer.run(queue)))),
            beside,
        })))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.beside.iter().for_each(JoinHandle::abort);
    }
}

/// A read that takes too long is given up.
async fn in_time<T>(reading: impl Future<Output = std::result::Result<T, Failure>>) -> Result<T> {
    match timeout(READ_TIME_MAX, reading).await {
        Ok(read) => Ok(read?),
        Err(_) => Err(BackendError::Unavailable("the database takes too long".into())),
    }
}

#[async_trait::async_trait]
impl Backend for PostgresStore {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let (done, outcome) = oneshot::channel();
        let sent = self.0.jobs.lock().as_ref().is_some_and(|jobs| jobs.send(Job { batch, done }).is_ok());
        async move {
            if !sent {
                return Err(BackendError::Unavailable("the store is closed".into()));
            }
            let ended = |_| Err(BackendError::OutcomeUnknown("the committing task ended".into()));
            outcome.await.unwrap_or_else(ended)
        }
        .boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        in_time(async {
            let mut read = RowMap::default();
            let mut connection = self.0.pool.acquire().await?;
            let database_ms = rows::read(&mut connection, cells, &mut read).await?;
            let rows = cells.iter().map(|cell| read.get(cell).cloned().flatten()).collect();
            Ok(Loaded { now_ms: self.0.clock.read(database_ms), rows })
        })
        .await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        let registration = self.0.watches.wakeups.register(cell);
        let _noted = self.0.watches.note(cell, seen);
        let stamps = in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            rows::read_stamps(&mut connection, [cell]).await
        });
        if stamps.await?.first().map_or(0, |(_, stamp)| *stamp) == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            reading::scan(&mut connection, query, &self.0.clock).await
        })
        .await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            reading::accounts(&mut connection, after, limit).await
        })
        .await
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        let deleted = in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            let now_ms = self.0.clock.read(rows::read(&mut connection, [], &mut RowMap::default()).await?);
            rows::delete_due(&mut connection, now_ms, limit).await
        })
        .await?;
        self.0.watches.wakeups.wake(&deleted);
        self.0.notifier.tell(&deleted);
        Ok(deleted.len())
    }

    async fn health(&self) -> Result<Health> {
        const READ_ONLY: &str = "SELECT current_setting('transaction_read_only')::bool";
        in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            let database_ms = rows::read(&mut connection, [], &mut RowMap::default()).await?;
            if sqlx::query_scalar(READ_ONLY).fetch_one(&mut *connection).await? {
                return Err(Failure::Unavailable("the database takes no writes".into()));
            }
            Ok(Health { now_ms: self.0.clock.read(database_ms) })
        })
        .await
    }

    // The last changes may stay untold: other frontends find them by their regular look.
    async fn close(&self) {
        drop(self.0.jobs.lock().take());
        let committing = self.0.committing.lock().take();
        if let Some(Err(error)) = futures_util::future::OptionFuture::from(committing).await {
            tracing::error!(%error, "the committing task failed");
        }
        self.0.beside.iter().for_each(JoinHandle::abort);
        self.0.pool.close().await;
    }
}
