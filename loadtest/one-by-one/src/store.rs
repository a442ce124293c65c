//! The [`Backend`]: each request of a batch is a transaction of its own, on a pool of connections.

use crate::cells;
use crate::transaction::Transactions;
use anyhow::Context as _;
use dragon_contract::{
    AccountsPage, Backend, BackendError, BatchOutcome, CommitFuture, Health, Loaded, Result, Wakeups,
};
use dragon_core::batch::{Entry, RowMap};
use dragon_core::cell::{Account, Cell};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a connection. Requests wait for one behind all others: no reason to fail.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(60);
/// More than there are clients: no request waits for another one's.
const COMMITS_IN_FLIGHT: usize = 100_000;
/// A plan that scans a small table would make every pair of requests conflict.
const SESSION: &str = "SET enable_seqscan TO off; SET synchronous_commit TO on";

/// The store.
#[derive(Debug)]
pub struct OneByOne(Transactions);

impl OneByOne {
    /// Connects, and makes the table unless it is there.
    pub async fn connect(
        database: PgConnectOptions,
        connections: u32,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        const TABLE: &str = "CREATE TABLE IF NOT EXISTS cell (name bytea PRIMARY KEY, row bytea NOT NULL)";
        let (commits, retries) = (Counter::default(), Counter::default());
        registry.register("dragon_one_by_one_commits", "Transactions committed", commits.clone());
        registry.register("dragon_one_by_one_retries", "Transactions tried again", retries.clone());
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .acquire_timeout(ACQUIRE_TIME_MAX)
            // A round trip for each request, which tells nothing that the request itself does not.
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
            })
            .connect_with(database.disable_statement_logging())
            .await
            .context("connecting to the database")?;
        sqlx::raw_sql(TABLE).execute(&pool).await.context("making the table")?;
        Ok(Self(Transactions { pool, wakeups: Wakeups::default(), commits, retries }))
    }

    async fn read(&self, cells: &[Cell]) -> Result<Loaded> {
        let mut read = RowMap::default();
        let now_ms = async {
            let mut connection = self.0.pool.acquire().await?;
            cells::read(&mut connection, cells, &mut read).await
        };
        let now_ms = now_ms.await?;
        Ok(Loaded { now_ms, rows: cells.iter().map(|cell| read.get(cell).cloned().flatten()).collect() })
    }
}

/// The entries of a batch, by number, apart but for those that follow one another on a lock: the next
/// holder's request would find it held if it came before the release.
fn chains(batch: &[Entry]) -> Vec<Vec<usize>> {
    let mut chains: Vec<(Vec<&Cell>, Vec<usize>)> = Vec::new();
    for (number, entry) in batch.iter().enumerate() {
        let request = &entry.request;
        let released = request.released().map(|held| &held.cell);
        let locks: Vec<&Cell> = released.into_iter().chain(request.wanted().map(|it| &it.cell)).collect();
        match chains.iter_mut().find(|(others, _)| locks.iter().any(|lock| others.contains(lock))) {
            Some((others, numbers)) => {
                others.extend(locks);
                numbers.push(number);
            }
            None => chains.push((locks, vec![number])),
        }
    }
    chains.into_iter().map(|(_, numbers)| numbers).collect()
}

#[async_trait::async_trait]
impl Backend for OneByOne {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let tasks = chains(&batch).into_iter().map(|numbers| {
            let (transactions, batch) = (self.0.clone(), Arc::clone(&batch));
            tokio::spawn(async move {
                let mut done = Vec::with_capacity(numbers.len());
                for number in numbers {
                    done.push((number, transactions.commit(&batch[number]).await?));
                }
                Ok::<_, BackendError>(done)
            })
        });
        let (tasks, is_single) = (tasks.collect::<Vec<_>>(), batch.len() == 1);
        async move {
            let ended = |_| BackendError::OutcomeUnknown("a committing task ended".into());
            let chains = try_join_all(tasks).await.map_err(ended)?;
            let chains: Result<Vec<_>> = chains.into_iter().collect();
            // The others of the batch may have been committed.
            let chains = chains.map_err(|error| match error {
                error if is_single => error,
                error => BackendError::OutcomeUnknown(error.to_string()),
            })?;
            let mut all: Vec<_> = chains.into_iter().flatten().collect();
            all.sort_unstable_by_key(|(number, _)| *number);
            let now_ms = all.iter().map(|(_, (now_ms, _))| *now_ms).max().unwrap_or_default();
            Ok(BatchOutcome { now_ms, verdicts: all.into_iter().map(|(_, (_, verdict))| verdict).collect() })
        }
        .boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.read(cells).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        let registration = self.0.wakeups.register(cell);
        let loaded = self.read(std::slice::from_ref(cell)).await?;
        if layout::stamp(cell, loaded.rows.first().and_then(Option::as_ref))? == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        let page = async {
            let mut connection = self.0.pool.acquire().await?;
            let mut transaction =
                connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let page = cells::scan(&mut transaction, query).await?;
            transaction.rollback().await?;
            Ok::<_, cells::Failure>(page)
        };
        Ok(page.await?)
    }

    /// Nobody asks for it in a measurement.
    async fn accounts(&self, _after: Option<&Account>, _limit: usize) -> Result<AccountsPage> {
        Err(BackendError::Unavailable("this store lists no accounts".into()))
    }

    /// What has expired stays: it is read as absent all the same, and a measurement ends before it is much.
    async fn sweep(&self, _limit: usize) -> Result<usize> {
        Ok(0)
    }

    async fn health(&self) -> Result<Health> {
        Ok(Health { now_ms: self.read(&[]).await?.now_ms })
    }

    fn pipeline_depth(&self) -> usize {
        COMMITS_IN_FLIGHT
    }

    async fn close(&self) {
        self.0.pool.close().await;
    }
}
