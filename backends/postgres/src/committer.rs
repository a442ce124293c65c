//! One lane's batches, one after another, on a connection of their own: read under the lane's lock,
//! decide, commit. Two round trips a batch.
//!
//! The lock is for fairness between frontends, not for safety: a batch is committed only if its accounts are
//! still as they were read. So a frontend that stalls with the lock delays the others once, for as long
//! as the lock is waited for; then they take turns by another one for a while.

use crate::failure::Failure;
use crate::metrics::PostgresMetrics;
use crate::notifier::Notifier;
use crate::rows::{self, Found, LaneLock, StoreClock, Wanted, Written};
use crate::session::Sessions;
use crate::settling::{BatchRow, Settled};
use crate::watches::Watches;
use bytes::Bytes;
use dragon_contract::{BackendError, BatchOutcome, Result, RowsRead, RowsReadError};
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::Cell;
use sqlx::{Connection as _, PgConnection};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a batch is tried before it is given up as not applied.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a batch waits for a database that can't be reached: a restart passes unnoticed.
const OUTAGE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long an answer to a commit may take before it is settled on another connection.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Pauses between tries grow from the first to the last of these.
const PAUSE_MS: std::ops::Range<u64> = 2..200;
/// How long another lock is used, once one was waited for in vain.
const LOCK_DOUBTED_FOR: Duration = Duration::from_secs(5);
/// Locks of one lane, the next where someone stalls with the one before.
const LOCKS_OF_LANE: i32 = 4;
/// Numbers between two locks of one lane: more than there are lanes, and what else has a number.
const LOCK_STRIDE: i32 = 256;
/// Bytes of rows that are read at once.
const READ_BYTES_MAX: usize = 64 << 20;
/// Rows that are read at once.
const READ_ROWS_MAX: usize = 10_000;

/// A batch on its way, in the order of the calls.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Arc<[Entry]>,
    pub(crate) done: oneshot::Sender<Result<BatchOutcome>>,
}

/// What all lanes of a frontend share.
#[derive(Clone, Debug)]
pub(crate) struct Frontend {
    pub(crate) sessions: Sessions,
    pub(crate) clock: StoreClock,
    pub(crate) watches: Arc<Watches>,
    pub(crate) notifier: Notifier,
    pub(crate) metrics: PostgresMetrics,
    /// Its name, new with each start.
    pub(crate) id: Arc<str>,
}

impl Frontend {
    /// Wakes who waits for these cells, here and at the other frontends. Call it once they are committed.
    pub(crate) fn tell_changed<'a>(&self, cells: impl IntoIterator<Item = &'a Cell> + Clone) {
        self.watches.wakeups.wake(cells.clone());
        self.notifier.tell(cells);
    }
}

pub(crate) struct Committer {
    frontend: Frontend,
    lane: i16,
    row: BatchRow,
    connection: Option<PgConnection>,
    /// Which of the lane's locks is in use, and until when it is not the first.
    lock: (i32, Instant),
}

/// What a batch has come to, not yet committed.
struct Prepared {
    outcome: BatchOutcome,
    writes: RowMap,
    /// The accounts' rows as they were read, by which it is known that nothing has changed.
    accounts: Vec<(Cell, Option<Bytes>)>,
    /// The lane's lock, if this session got it.
    lock: Option<LaneLock>,
}

impl Committer {
    pub(crate) fn new(frontend: Frontend, lane: usize) -> Self {
        let lane = lane as i16;
        let row = BatchRow::new(Arc::clone(&frontend.id), lane);
        Self { frontend, lane, row, connection: None, lock: (0, Instant::now()) }
    }

    /// Commits what comes, until nobody is left who could send.
    pub(crate) async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        while let Some(Job { batch, done }) = jobs.recv().await {
            // Who sent it may be gone; it is committed all the same.
            drop(done.send(self.commit(&batch).await));
        }
        if let Some(mut connection) = self.connection.take() {
            let leaving = async {
                self.row.delete(&mut connection).await?;
                connection.close().await
            };
            if !matches!(timeout(ANSWER_TIME_MAX, leaving).await, Ok(Ok(()))) {
                tracing::debug!(lane = self.lane, "the batch row of this frontend stays behind");
            }
        }
    }

    async fn commit(&mut self, batch: &[Entry]) -> Result<BatchOutcome> {
        let (deadline, back_by) = (Instant::now() + COMMIT_TIME_MAX, Instant::now() + OUTAGE_TIME_MAX);
        let mut pause_ms = PAUSE_MS.start;
        loop {
            let pause = jittered(pause_ms);
            let (failure, until) = match self.attempt(batch, deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(failure @ Failure::Unavailable(_)) => (failure, back_by),
                Err(failure @ Failure::Conflict(_)) => (failure, deadline),
                Err(failure) => return Err(failure.into()),
            };
            if Instant::now() + pause >= until {
                return Err(failure.into());
            }
            tracing::debug!(lane = self.lane, ?failure, "a batch is tried again");
            self.frontend.metrics.retries.inc();
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
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let preparing = timeout_at(deadline, self.prepare(&mut connection, batch));
        let prepared = match preparing.await.unwrap_or_else(|_| Err(too_long())) {
            Ok(prepared) => prepared,
            Err(failure) => {
                self.keep_unlocked(connection, matches!(failure, Failure::Unavailable(_))).await;
                return Err(failure);
            }
        };
        if prepared.writes.is_empty() && prepared.accounts.is_empty() {
            // It was of one moment, and is durable: what others can see of a commit is.
            self.keep_unlocked(connection, false).await;
            return Ok(prepared.outcome);
        }
        let written = Written::new(&prepared.writes)?;
        let committing = self.row.commit(&mut connection, prepared.lock, &prepared.accounts, &written);
        let committed = timeout(ANSWER_TIME_MAX, committing).await.unwrap_or_else(|_| Err(too_long()));
        match committed {
            Ok(true) => {
                self.row.committed();
                self.connection = Some(connection);
            }
            Ok(false) => {
                // The lock passed to the transaction, and is free.
                self.connection = Some(connection);
                return Err(Failure::Conflict("another frontend was faster".into()));
            }
            Err(failure @ Failure::Conflict(_)) => {
                // The database said that it is undone.
                self.keep_unlocked(connection, false).await;
                return Err(failure);
            }
            Err(failure) => {
                drop(connection);
                let reason = BackendError::from(failure).to_string();
                self.frontend.metrics.settled.inc();
                if let Settled::Undone = self.row.settle(&self.frontend.sessions, &reason).await? {
                    return Err(Failure::Conflict(reason));
                }
            }
        }
        self.frontend.metrics.commits.inc();
        self.frontend.tell_changed(prepared.writes.keys());
        Ok(prepared.outcome)
    }

    async fn connect(&mut self) -> std::result::Result<PgConnection, Failure> {
        let mut connection = self.frontend.sessions.connect_lane().await?;
        let enrolling = timeout(ANSWER_TIME_MAX, self.row.enrol(&mut connection));
        enrolling.await.map_err(|_| too_long())??;
        Ok(connection)
    }

    /// Keeps the connection, without the lane's lock; or not, where it is broken.
    async fn keep_unlocked(&mut self, mut connection: PgConnection, is_broken: bool) {
        const UNLOCK: &str = "SELECT pg_advisory_unlock_all()";
        if is_broken {
            return;
        }
        let unlocking = timeout(ANSWER_TIME_MAX, sqlx::query(UNLOCK).execute(&mut connection));
        if matches!(unlocking.await, Ok(Ok(_))) {
            self.connection = Some(connection);
        }
    }

    /// Everything up to the commit.
    async fn prepare(
        &mut self,
        connection: &mut PgConnection,
        batch: &[Entry],
    ) -> std::result::Result<Prepared, Failure> {
        let mut unread = Unread::of(batch);
        let mut rows = RowsRead::default();
        let mut lock = Some(self.lock());
        let (mut reads, mut database_ms) = (0, 0);
        let mut missing = None;
        loop {
            // All at first, as far as there is room; then from what was missing on.
            if unread.begin(missing.take()) || reads == 0 {
                let wanted = unread.wanted();
                let to_take = lock.filter(|_| reads == 0);
                let read = rows::read(connection, &wanted, READ_BYTES_MAX, to_take).await?;
                if reads == 0 {
                    database_ms = read.database_ms;
                    lock = lock.filter(|_| read.is_locked);
                }
                reads += 1;
                unread.take_in(read.found, &mut rows.0);
            }
            let now_ms = self.frontend.clock.read(database_ms);
            let Decided { verdicts, writes } = match decide_batch(batch, &mut rows, now_ms) {
                Ok(decided) => decided,
                Err(RowsReadError::Missing(cell)) => {
                    missing = Some(cell);
                    continue;
                }
                Err(error) => return Err(BackendError::from(error).into()),
            };
            if lock.is_none() {
                self.doubt_the_lock();
            }
            // Reads of different moments are good only where no account has changed since the first.
            let accounts = accounts(batch, &rows.0, |meta| reads > 1 || writes.contains_key(meta));
            return Ok(Prepared { outcome: BatchOutcome { now_ms, verdicts }, writes, accounts, lock });
        }
    }

    /// The lock that frontends take turns by.
    fn lock(&mut self) -> LaneLock {
        if self.lock.1 <= Instant::now() {
            self.lock.0 = 0;
        }
        let number = i32::from(self.lane) + self.lock.0 * LOCK_STRIDE;
        LaneLock { class: self.frontend.sessions.lock_class(), number }
    }

    fn doubt_the_lock(&mut self) {
        self.frontend.metrics.lock_timeouts.inc();
        tracing::info!(
            lane = self.lane,
            lock = self.lock.0,
            "a lane's lock was not got in time: taking another"
        );
        self.lock = ((self.lock.0 + 1).min(LOCKS_OF_LANE - 1), Instant::now() + LOCK_DOUBTED_FOR);
    }
}

/// The accounts of a batch and their rows, each once.
fn accounts(
    batch: &[Entry],
    rows: &RowMap,
    is_guarded: impl Fn(&Cell) -> bool,
) -> Vec<(Cell, Option<Bytes>)> {
    let mut metas: Vec<&Cell> = batch.iter().map(|entry| entry.request.meta()).collect();
    metas.sort_unstable();
    metas.dedup();
    let guarded = metas.into_iter().filter(|meta| is_guarded(meta));
    guarded.map(|meta| (meta.clone(), rows.get(meta).cloned().flatten())).collect()
}

/// The cells of a batch that are not read yet, in the order in which deciding asks for them.
struct Unread {
    cells: Vec<Cell>,
    /// How many of them the present read is about.
    reading: usize,
}

impl Unread {
    fn of(batch: &[Entry]) -> Self {
        let mut seen = std::collections::HashSet::with_hasher(foldhash::fast::RandomState::default());
        let cells = batch.iter().flat_map(|entry| entry.request.reads()).filter(|cell| seen.insert(*cell));
        Self { cells: cells.cloned().collect(), reading: 0 }
    }

    /// Puts the missing cell first. Whether there is something to read.
    fn begin(&mut self, missing: Option<Cell>) -> bool {
        if let Some(missing) = missing {
            match self.cells.iter().position(|cell| *cell == missing) {
                // What lies before was not asked for any more.
                Some(at) => drop(self.cells.drain(..at)),
                // A duplicate's answer, beside another id.
                None => self.cells.insert(0, missing),
            }
        }
        self.reading = self.cells.len().min(READ_ROWS_MAX);
        self.reading > 0
    }

    fn wanted(&self) -> Wanted<'_> {
        let mut wanted = Wanted::default();
        self.cells[..self.reading].iter().for_each(|cell| wanted.push(cell, None));
        wanted
    }

    fn take_in(&mut self, found: Vec<Found>, rows: &mut RowMap) {
        let mut not_read = Vec::new();
        for (cell, found) in self.cells.drain(..self.reading).zip(found) {
            match found {
                Found::Row(row) => drop(rows.insert(cell, row)),
                Found::NotRead => not_read.push(cell),
            }
        }
        not_read.append(&mut self.cells);
        self.cells = not_read;
    }
}

pub(crate) fn too_long() -> Failure {
    Failure::Unavailable("the database takes too long".into())
}

/// Between half of it and all of it, so that frontends in each other's way get out of step.
fn jittered(pause_ms: u64) -> Duration {
    let random = RandomState::new().hash_one(());
    Duration::from_millis(pause_ms / 2 + random % (pause_ms / 2 + 1))
}
