//! An account as of one moment: a transaction on a connection of its own. As long as it is open the database
//! keeps what changes meanwhile, so whoever reads nothing for a minute loses it.

use crate::failure::Failure;
use crate::pages::{ONE_MOMENT, next_rows};
use crate::reader::READ_TIME_MAX;
use crate::rows;
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
const STEP_ROWS: usize = 2_000;

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

#[async_trait::async_trait]
impl Snapshot for PostgresSnapshot {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        let Some(mut connection) = self.connection.take() else { return Ok(Vec::new()) };
        let bounds = (STEP_ROWS, SNAPSHOT_STEP_BYTES);
        let (rows, is_last) = in_time(next_rows(&mut connection, self.lane, &mut self.names, bounds)).await?;
        if is_last {
            // What fails here has lost nothing.
            drop(timeout(READ_TIME_MAX, connection.close()).await);
        } else {
            self.connection = Some(connection);
        }
        Ok(rows)
    }
}
