//! An account as of one moment: a transaction on a connection of its own. As long as it is open the database
//! keeps what changes meanwhile, so whoever reads nothing for a minute loses it.

use crate::failure::Failure;
use crate::pages::ONE_MOMENT;
use crate::reader::READ_TIME_MAX;
use crate::rows::{self, named_row};
use crate::session::Sessions;
use crate::store::in_time;
use dragon_contract::{BackendError, NamedRow, Result, SNAPSHOT_STEP_BYTES, Snapshot};
use dragon_core::cell::{Account, Cell, all_of};
use sqlx::{Connection as _, PgConnection};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Snapshots of one frontend at once: each takes a connection.
const SNAPSHOTS_MAX: usize = 4;
/// Rows of one step.
const STEP_ROWS: i64 = 2_000;

/// Room for snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots(Arc<Semaphore>);

impl Default for Snapshots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SNAPSHOTS_MAX)))
    }
}

impl Snapshots {
    pub(crate) async fn begin(&self, sessions: &Sessions, account: &Account) -> Result<PostgresSnapshot> {
        let busy =
            |_| BackendError::Busy(format!("{SNAPSHOTS_MAX} accounts are being read as a whole already"));
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(busy)?;
        let connection = in_time(begin(sessions)).await?;
        let lane = rows::lane(&Cell::meta(account));
        Ok(PostgresSnapshot { connection: Some(connection), lane, names: all_of(account), _permit: permit })
    }
}

/// A transaction's moment is that of its first statement.
async fn begin(sessions: &Sessions) -> std::result::Result<PgConnection, Failure> {
    const PIN: &str = "SET LOCAL idle_in_transaction_session_timeout TO '60s'; SELECT 1";
    let mut connection = sessions.connect().await?;
    sqlx::raw_sql(ONE_MOMENT).execute(&mut connection).await?;
    sqlx::raw_sql(PIN).execute(&mut connection).await?;
    Ok(connection)
}

/// One of them.
#[derive(Debug)]
pub(crate) struct PostgresSnapshot {
    /// `None` when all was read, or it failed.
    connection: Option<PgConnection>,
    lane: i16,
    /// The account's names from the next one on.
    names: Range<Vec<u8>>,
    _permit: OwnedSemaphorePermit,
}

impl PostgresSnapshot {
    /// The next rows, of which all but the last one are of a step's size together at most.
    async fn read(&mut self, connection: &mut PgConnection) -> std::result::Result<Vec<NamedRow>, Failure> {
        const NEXT: &str = "SELECT name, content FROM ( \
                SELECT name, content, sum(octet_length(content)) OVER (ORDER BY name \
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before \
                FROM cell WHERE lane = $1 AND name >= $2 AND name < $3 ORDER BY name LIMIT $4) AS next \
            WHERE bytes_before IS NULL OR bytes_before < $5 ORDER BY name";
        let next = sqlx::query(NEXT).bind(self.lane).bind(&self.names.start).bind(&self.names.end);
        let next = next.bind(STEP_ROWS).bind(SNAPSHOT_STEP_BYTES as i64);
        next.fetch_all(connection).await?.iter().map(named_row).collect()
    }
}

#[async_trait::async_trait]
impl Snapshot for PostgresSnapshot {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        let Some(mut connection) = self.connection.take() else { return Ok(Vec::new()) };
        let rows = in_time(self.read(&mut connection)).await?;
        if let Some((last, _)) = rows.last() {
            self.names.start = [last.as_bytes().as_ref(), &[0]].concat();
            self.connection = Some(connection);
        } else {
            // What fails here has lost nothing.
            drop(timeout(READ_TIME_MAX, connection.close()).await);
        }
        Ok(rows)
    }
}
