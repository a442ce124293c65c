//! One lane's batches, one after another, on a connection of their own: read under the lane's lock,
//! decide, commit. Two round trips a batch; three where frontends wait for each other, so that a batch
//! holds what has arrived until it is its turn.

use crate::failure::Failure;
use crate::lane_lock::{LaneLock, LaneLocks};
use crate::metrics::PostgresMetrics;
use crate::notifier::Notifier;
use crate::rows::{Found, Lane, StoreClock, Written, read_lane};
use crate::session::Sessions;
use crate::settling::{Answered, BatchRow, Settled};
use crate::watches::Watches;
use bytes::Bytes;
use dragon_contract::{BackendError, BatchOutcome, Result, RowsRead, RowsReadError, Unread, jittered};
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::Cell;
use sqlx::{Connection as _, PgConnection};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a batch is tried before it is given up as not applied.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a batch waits for a database that can't be reached: a restart passes unnoticed.
const OUTAGE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long an answer to a commit may take before it is settled on another connection.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Pauses between tries grow from the first to the last of these.
const PAUSE_MS: std::ops::Range<u64> = 2..200;
/// Bytes of rows that are read at once.
const READ_BYTES_MAX: usize = 64 << 20;
/// Rows that are read at once.
const READ_ROWS_MAX: usize = 10_000;

/// What a lane is asked to do, in the order of the calls.
#[derive(Debug)]
pub(crate) enum Job {
    /// Wait for the lane's turn.
    Turn {
        done: oneshot::Sender<()>,
    },
    /// Give it back.
    Pass,
    Commit {
        batch: Arc<[Entry]>,
        done: oneshot::Sender<Result<BatchOutcome>>,
    },
}

/// Where jobs for a lane go.
#[derive(Debug)]
pub(crate) struct LaneJobs {
    pub(crate) jobs: UnboundedSender<Job>,
    /// Whether the lane's turn is to be waited for before a batch is gathered.
    pub(crate) is_contended: Arc<AtomicBool>,
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
    lane: Lane,
    row: BatchRow,
    connection: Option<PgConnection>,
    locks: LaneLocks,
    /// The lock that this connection took when it waited for its turn.
    held: Option<LaneLock>,
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
    /// Starts one lane's committer in `tasks`. It ends when nobody is left who could send.
    pub(crate) fn start(frontend: Frontend, lane: Lane, tasks: &mut JoinSet<()>) -> LaneJobs {
        let (jobs, queue) = unbounded_channel();
        let row = BatchRow::new(Arc::clone(&frontend.id), lane);
        let class = frontend.sessions.lock_class();
        let locks = LaneLocks::new(class, lane.number, frontend.metrics.clone());
        let is_contended = locks.contention();
        tasks.spawn(Self { frontend, lane, row, connection: None, locks, held: None }.run(queue));
        LaneJobs { jobs, is_contended }
    }

    async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Turn { done } => {
                    self.take_turn().await;
                    // Who gave it up passes it on.
                    let _ = done.send(());
                }
                Job::Pass => self.pass().await,
                // Who sent it may be gone; it is committed all the same.
                Job::Commit { batch, done } => drop(done.send(self.commit(&batch).await)),
            }
        }
        if let Some(mut connection) = self.connection.take() {
            let leaving = async {
                self.row.delete(&mut connection).await?;
                connection.close().await
            };
            if !matches!(timeout(ANSWER_TIME_MAX, leaving).await, Ok(Ok(()))) {
                tracing::debug!(lane = self.lane.number, "the batch row of this frontend stays behind");
            }
        }
    }

    async fn commit(&mut self, batch: &[Entry]) -> Result<BatchOutcome> {
        let (deadline, back_by) = (Instant::now() + COMMIT_TIME_MAX, Instant::now() + OUTAGE_TIME_MAX);
        let mut pause_ms = PAUSE_MS.start;
        loop {
            let pause = jittered(Duration::from_millis(pause_ms));
            let (failure, until) = match self.attempt(batch, deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(failure @ Failure::Unavailable(_)) => (failure, back_by),
                Err(failure @ Failure::Conflict(_)) => (failure, deadline),
                Err(failure) => return Err(failure.into()),
            };
            if Instant::now() + pause >= until {
                return Err(failure.into());
            }
            tracing::debug!(lane = self.lane.number, ?failure, "a batch is tried again");
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
        let mut connection = self.connection().await?;
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
            Ok(Answered::Committed) => {
                self.row.committed();
                self.connection = Some(connection);
            }
            Ok(Answered::Changed) => {
                // The lock passed to the transaction, and is free.
                self.connection = Some(connection);
                return Err(Failure::Conflict("another frontend was faster".into()));
            }
            Ok(Answered::Superseded) => {
                return Err(Failure::Conflict("the batch row of this frontend has vanished".into()));
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

    /// Takes the lane's lock before there is a batch. Where that fails the batch goes on without.
    async fn take_turn(&mut self) {
        let lock = self.locks.current();
        let taking = async {
            let mut connection = self.connection().await?;
            let taken = lock.take(&mut connection).await?;
            self.connection = Some(connection);
            Ok::<_, Failure>(taken)
        };
        match timeout(ANSWER_TIME_MAX, taking).await.unwrap_or_else(|_| Err(too_long())) {
            Ok(taken) => {
                self.locks.note(taken);
                self.held = taken.is_locked.then_some(lock);
            }
            Err(error) => tracing::debug!(lane = self.lane.number, ?error, "the turn can't be waited for"),
        }
    }

    async fn pass(&mut self) {
        if self.held.take().is_some()
            && let Some(connection) = self.connection.take()
        {
            self.keep_unlocked(connection, false).await;
        }
    }

    /// The connection that was kept, or a new one.
    async fn connection(&mut self) -> std::result::Result<PgConnection, Failure> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
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
        let held = self.held.take();
        let lock = held.unwrap_or_else(|| self.locks.current());
        let mut is_locked = held.is_some();
        let (mut reads, mut database_ms) = (0, 0);
        let (mut taken_entries, mut missing) = (batch.len(), None);
        let mut is_to_read = true;
        loop {
            // All at first, as far as there is room. Where there is none for all, the first entries go alone;
            // if one alone is too large, from what was missing on.
            if is_to_read && (unread.begin(missing.take(), READ_ROWS_MAX) || reads == 0) {
                let to_take = (held.is_none() && reads == 0).then_some(lock);
                let cells = unread.wanted();
                let (read, taken) = read_lane(connection, self.lane, cells, READ_BYTES_MAX, to_take).await?;
                if to_take.is_some() {
                    self.locks.note(taken);
                    is_locked = taken.is_locked;
                }
                if reads == 0 {
                    database_ms = read.database_ms;
                }
                reads += 1;
                unread.take_in(read.found.into_iter().map(Found::known), &mut rows.0);
            }
            let now_ms = self.frontend.clock.read(database_ms);
            let batch = &batch[..taken_entries];
            let Decided { verdicts, writes } = match decide_batch(batch, &mut rows, now_ms) {
                Ok(decided) => decided,
                Err(RowsReadError::Missing(cell)) => {
                    // Where all are whole, a duplicate's answer is missing.
                    let whole = rows.whole_entries(batch);
                    is_to_read = whole == 0 || whole == taken_entries;
                    taken_entries = whole.max(1);
                    missing = Some(cell).filter(|_| is_to_read);
                    continue;
                }
                Err(error) => return Err(BackendError::from(error).into()),
            };
            // Reads of different moments are good only where no account has changed since the first.
            let accounts = accounts(batch, &rows.0, |meta| reads > 1 || writes.contains_key(meta));
            let outcome = BatchOutcome { now_ms, verdicts };
            return Ok(Prepared { outcome, writes, accounts, lock: is_locked.then_some(lock) });
        }
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

pub(crate) fn too_long() -> Failure {
    Failure::Unavailable("the database takes too long".into())
}
