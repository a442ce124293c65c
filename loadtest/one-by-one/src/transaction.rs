//! One request as a transaction of its own: BEGIN, read, decide, write, COMMIT; and again when others were
//! in the way.

use crate::cells::{self, Failure};
use dragon_contract::{BackendError, Result, RowsRead, RowsReadError, Wakeups};
use dragon_core::UnixMs;
use dragon_core::batch::{Decided, Entry, decide_batch};
use dragon_core::cell::Cell;
use dragon_core::verdict::Verdict;
use prometheus_client::metrics::counter::Counter;
use sqlx::{Executor as _, PgConnection, PgPool};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// How long a request is tried.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Pauses between tries grow from the first to the last of these.
const PAUSE_US: std::ops::Range<u64> = 500..50_000;

/// What requests are committed with.
#[derive(Clone, Debug)]
pub struct Transactions {
    pub pool: PgPool,
    pub wakeups: Wakeups,
    pub commits: Counter,
    pub retries: Counter,
}

impl Transactions {
    /// Commits one request.
    pub async fn commit(&self, entry: &Entry) -> Result<(UnixMs, Verdict)> {
        let (begun, mut pause_us) = (Instant::now(), PAUSE_US.start);
        loop {
            match self.attempt(entry).await {
                Err(Failure::Conflict(_)) if begun.elapsed() < TIME_MAX => {}
                done => return Ok(done?),
            }
            self.retries.inc();
            // The connection is another's meanwhile. Jittered, so that those in each other's way get out
            // of step.
            let random = RandomState::new().hash_one(());
            tokio::time::sleep(Duration::from_micros(pause_us / 2 + random % (pause_us / 2 + 1))).await;
            pause_us = (pause_us * 2).min(PAUSE_US.end);
        }
    }

    async fn attempt(&self, entry: &Entry) -> std::result::Result<(UnixMs, Verdict), Failure> {
        let mut connection = self.pool.acquire().await?;
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
        self.commits.inc();
        self.wakeups.wake(writes.keys());
        let none = || BackendError::OutcomeUnknown("a request without a verdict".into());
        Ok((now_ms, verdicts.pop().ok_or_else(none)?))
    }
}

/// Everything between BEGIN and COMMIT.
async fn prepare(
    connection: &mut PgConnection,
    entry: &Entry,
) -> std::result::Result<(Decided, UnixMs), Failure> {
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
