//! Batches, one after another, on a connection of their own: read, decide, write, COMMIT. A COMMIT
//! whose answer did not come is settled by the sequence number that the same transaction wrote into
//! the row of this frontend.

use crate::failure::Failure;
use crate::notifier::Notifier;
use crate::rows::{self, Known, StoreClock};
use crate::session::Sessions;
use crate::watches::Watches;
use dragon_contract::{BackendError, BatchOutcome, Result};
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use sqlx::{Connection as _, PgConnection};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a batch is tried before it is given up as not applied.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a COMMIT may take before it is settled on another connection.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long it is tried to learn whether a COMMIT happened: longer than a session that stalls in a
/// transaction is let live, and than a restart of the database takes.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);
/// Pauses between tries grow from the first to the last of these.
const PAUSE_MS: std::ops::Range<u64> = 2..200;

/// A batch on its way, in the order of the calls.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Arc<[Entry]>,
    pub(crate) done: oneshot::Sender<Result<BatchOutcome>>,
}

pub(crate) struct Committer {
    address: Sessions,
    clock: StoreClock,
    watches: Arc<Watches>,
    notifier: Notifier,
    /// The name of this frontend's row, new with each start.
    frontend: String,
    /// The number of the last attempt.
    sequence: i64,
    connection: Option<PgConnection>,
}

/// What a batch has come to, not yet committed.
struct Prepared {
    outcome: BatchOutcome,
    writes: RowMap,
}

/// How an attempt that left the outcome open ended.
enum Settled {
    Committed,
    /// It did not happen and never will.
    Undone,
}

impl Committer {
    /// Connects, and takes a row for this frontend.
    pub(crate) async fn start(
        address: Sessions,
        clock: StoreClock,
        watches: Arc<Watches>,
        notifier: Notifier,
    ) -> sqlx::Result<Self> {
        let name = "SELECT gen_random_uuid()::text";
        let frontend: String = sqlx::query_scalar(name).fetch_one(&mut address.connect().await?).await?;
        let connection = connect(&address, &frontend).await?;
        Ok(Self { address, clock, watches, notifier, frontend, sequence: 0, connection: Some(connection) })
    }

    /// Commits what comes, until nobody is left who could send.
    pub(crate) async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        while let Some(Job { batch, done }) = jobs.recv().await {
            // Who sent it may be gone; it is committed all the same.
            drop(done.send(self.commit(&batch).await));
        }
        if !matches!(timeout(ANSWER_TIME_MAX, self.leave()).await, Ok(Ok(()))) {
            tracing::debug!(frontend = self.frontend, "the row of this frontend stays behind");
        }
    }

    async fn leave(&mut self) -> sqlx::Result<()> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let delete = sqlx::query("DELETE FROM frontend WHERE id = $1::uuid").bind(&self.frontend);
        delete.execute(&mut connection).await?;
        connection.close().await
    }

    async fn commit(&mut self, batch: &[Entry]) -> Result<BatchOutcome> {
        let deadline = Instant::now() + COMMIT_TIME_MAX;
        let mut pause_ms = PAUSE_MS.start;
        // A connection that was kept may have died unnoticed: that alone is no reason to give up.
        let mut may_reconnect = self.connection.is_some();
        loop {
            let reason = match self.attempt(batch, deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(Failure::Unavailable(reason)) if may_reconnect => {
                    may_reconnect = false;
                    reason
                }
                Err(Failure::Conflict(reason)) => reason,
                Err(failure) => return Err(failure.into()),
            };
            let pause = jittered(pause_ms);
            if Instant::now() + pause >= deadline {
                return Err(BackendError::Busy(reason));
            }
            sleep(pause).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS.end);
        }
    }

    /// Tries once. The connection is kept for the next batch only when its state is known.
    async fn attempt(
        &mut self,
        batch: &[Entry],
        deadline: Instant,
    ) -> std::result::Result<BatchOutcome, Failure> {
        self.sequence += 1;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.address, &self.frontend).await?,
        };
        let begun = timeout_at(deadline, connection.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE"));
        let mut transaction = begun.await.map_err(|_| too_long())??;
        let preparing = timeout_at(deadline, self.prepare(&mut transaction, batch));
        let prepared = match preparing.await.unwrap_or_else(|_| Err(too_long())) {
            Ok(prepared) => prepared,
            Err(failure) => {
                let unavailable = matches!(failure, Failure::Unavailable(_));
                if !unavailable
                    && matches!(timeout(ANSWER_TIME_MAX, transaction.rollback()).await, Ok(Ok(())))
                {
                    self.connection = Some(connection);
                }
                return Err(failure);
            }
        };
        let committed = timeout(ANSWER_TIME_MAX, transaction.commit()).await;
        match committed.map_err(|_| too_long()).and_then(|committed| Ok(committed?)) {
            Ok(()) => self.connection = Some(connection),
            Err(failure @ Failure::Conflict(_)) => {
                // The database said that it is undone.
                self.connection = Some(connection);
                return Err(failure);
            }
            // It has left nothing, but what it read was perhaps not of one moment.
            Err(failure) if prepared.writes.is_empty() => return Err(failure),
            Err(failure) => {
                drop(connection);
                let reason = BackendError::from(failure).to_string();
                if let Settled::Undone = self.settle(&reason).await? {
                    return Err(Failure::Conflict(reason));
                }
            }
        }
        if !prepared.writes.is_empty() {
            self.watches.wakeups.wake(prepared.writes.keys());
            self.notifier.tell(prepared.writes.keys());
        }
        Ok(prepared.outcome)
    }

    /// Everything up to the COMMIT.
    async fn prepare(
        &self,
        connection: &mut PgConnection,
        batch: &[Entry],
    ) -> std::result::Result<Prepared, Failure> {
        let mut known = Known::default();
        known.missing.extend(batch.iter().flat_map(|entry| entry.request.footprint()).cloned());
        let (Decided { verdicts, writes }, now_ms) = loop {
            let missing = std::mem::take(&mut known.missing);
            let database_ms = rows::read(connection, &missing, &mut known.rows).await?;
            let now_ms = self.clock.read(database_ms);
            let decided = decide_batch(batch, &mut known, now_ms)?;
            // A duplicate's answer may lie beside another id, which only the stored row names.
            if known.missing.is_empty() {
                break (decided, now_ms);
            }
        };
        if !writes.is_empty() {
            rows::write(connection, &writes).await?;
            const NUMBER: &str = "UPDATE frontend SET sequence = $2 WHERE id = $1::uuid";
            let number = sqlx::query(NUMBER).bind(&self.frontend).bind(self.sequence);
            if number.execute(connection).await?.rows_affected() != 1 {
                // The next connection makes it anew.
                return Err(Failure::Unavailable("the row of this frontend has vanished".into()));
            }
        }
        Ok(Prepared { outcome: BatchOutcome { now_ms, verdicts }, writes })
    }

    /// Learns what became of the last attempt. The attempt has written this frontend's row, so a
    /// transaction that still lives holds it locked: once the lock is got, the number tells.
    async fn settle(&self, reason: &str) -> Result<Settled> {
        let deadline = Instant::now() + SETTLE_TIME_MAX;
        tracing::info!(reason, "a COMMIT was not answered: settling it");
        loop {
            match timeout_at(deadline, self.stored_sequence()).await {
                Ok(Ok(Some(stored))) if stored == self.sequence => return Ok(Settled::Committed),
                Ok(Ok(Some(_))) => return Ok(Settled::Undone),
                Ok(Ok(None)) => {
                    return Err(BackendError::OutcomeUnknown(format!("{reason}; no trace is left")));
                }
                Ok(Err(error)) => tracing::debug!(%error, "the COMMIT could not be settled yet"),
                Err(_) => return Err(BackendError::OutcomeUnknown(reason.into())),
            }
            sleep(jittered(PAUSE_MS.end)).await;
        }
    }

    async fn stored_sequence(&self) -> sqlx::Result<Option<i64>> {
        const LOCK: &str = "SELECT sequence FROM frontend WHERE id = $1::uuid FOR UPDATE";
        let mut connection = self.address.connect().await?;
        sqlx::query_scalar(LOCK).bind(&self.frontend).fetch_optional(&mut connection).await
    }
}

/// Connects, and makes this frontend's row unless it is there. It must be there before the transaction
/// that numbers it, or the transaction would hold no lock that others see.
async fn connect(address: &Sessions, frontend: &str) -> sqlx::Result<PgConnection> {
    const ENROL: &str = "INSERT INTO frontend (id, sequence) VALUES ($1::uuid, 0) ON CONFLICT DO NOTHING";
    let mut connection = address.connect().await?;
    let enrolling = sqlx::query(ENROL).bind(frontend).execute(&mut connection);
    timeout(ANSWER_TIME_MAX, enrolling).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    Ok(connection)
}

fn too_long() -> Failure {
    Failure::Unavailable("the database takes too long".into())
}

/// Between half of it and all of it, so that frontends in each other's way get out of step.
fn jittered(pause_ms: u64) -> Duration {
    let random = RandomState::new().hash_one(());
    Duration::from_millis(pause_ms / 2 + random % (pause_ms / 2 + 1))
}
