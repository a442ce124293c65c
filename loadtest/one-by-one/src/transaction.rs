//! One request as a transaction of its own: BEGIN, read, decide, write, COMMIT; and again when others were
//! in the way.

use crate::cells;
use crate::store::{Database, Failure};
use anyhow::Context as _;
use dragon_contract::{BackendError, Loaded, RowsRead, RowsReadError};
use dragon_core::UnixMs;
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::Cell;
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Verdict;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use std::time::Duration;

/// Longest wait for a connection. Requests wait for one behind all others: no reason to fail.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(60);
/// A plan that scans a small table would make every pair of requests conflict.
const SESSION: &str = "SET enable_seqscan TO off; SET synchronous_commit TO on";

/// A Postgres, on a pool of connections.
#[derive(Debug)]
pub struct Postgres(PgPool);

impl Postgres {
    /// Connects, and makes the table unless it is there.
    pub async fn connect(database: PgConnectOptions, connections: u32) -> anyhow::Result<Self> {
        const TABLE: &str = "CREATE TABLE IF NOT EXISTS cell (name bytea PRIMARY KEY, row bytea NOT NULL)";
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
        Ok(Self(pool))
    }
}

#[async_trait::async_trait]
impl Database for Postgres {
    async fn attempt(&self, entry: &Entry) -> Result<(UnixMs, Verdict, Vec<Cell>), Failure> {
        let mut connection = self.0.acquire().await?;
        // Not sqlx's own transaction: after a COMMIT that failed it would send a ROLLBACK for nothing.
        connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
        let prepared = match prepare(&mut connection, entry).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                if connection.execute("ROLLBACK").await.is_err() {
                    connection.close_on_drop();
                }
                return Err(failure);
            }
        };
        if let Err(error) = connection.execute("COMMIT").await {
            return Err(match Failure::from(error) {
                conflict @ Failure::Conflict(_) => conflict,
                Failure::Other(error) => {
                    connection.close_on_drop();
                    Failure::Other(BackendError::OutcomeUnknown(error.to_string()))
                }
            });
        }
        let (Decided { mut verdicts, writes }, now_ms) = prepared;
        let none = || BackendError::OutcomeUnknown("a request without a verdict".into());
        Ok((now_ms, verdicts.pop().ok_or_else(none)?, writes.into_keys().collect()))
    }

    async fn read(&self, cells: &[Cell]) -> Result<Loaded, Failure> {
        let mut read = RowMap::default();
        let now_ms = cells::read(&mut *self.0.acquire().await?, cells, &mut read).await?;
        Ok(Loaded { now_ms, rows: cells.iter().map(|cell| read.get(cell).cloned().flatten()).collect() })
    }

    async fn scan(&self, query: &Query) -> Result<Page, Failure> {
        let mut connection = self.0.acquire().await?;
        let mut transaction =
            connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let page = cells::scan(&mut transaction, query).await?;
        transaction.rollback().await?;
        Ok(page)
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Everything between BEGIN and COMMIT.
async fn prepare(connection: &mut PgConnection, entry: &Entry) -> Result<(Decided, UnixMs), Failure> {
    let mut rows = RowsRead::default();
    let mut missing: Vec<Cell> = entry.request.footprint().cloned().collect();
    loop {
        let now_ms = cells::read(connection, &missing, &mut rows.0).await?;
        match decide_batch([entry], &mut rows, now_ms) {
            Ok(decided) => {
                cells::write(connection, &decided.writes).await?;
                return Ok((decided, now_ms));
            }
            // A duplicate's answer may lie beside another id, which only the stored row names.
            Err(RowsReadError::Missing(cell)) => missing = vec![cell],
            Err(error) => return Err(BackendError::from(error).into()),
        }
    }
}
