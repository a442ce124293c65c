//! One lane's batches, one after another: read at one version, decide, commit.
//!
//! A transaction has room for 10 MB and 5 seconds, and a lane gathers what it gathers: so a batch is cut
//! down to the first requests that fit, and the lane brings the others again.

use crate::clock::StoreClock;
use crate::failure::{Failure, TRANSACTION_TOO_LARGE, is_certainly_not_committed, too_long};
use crate::keys::Keys;
use crate::metrics::FoundationDbMetrics;
use crate::rows::read_as_wanted;
use crate::saving::{self, save};
use crate::settling::{BatchRecord, Settled};
use crate::turns::Turn;
use crate::writes::{Numbers, Writes, note_number};
use dragon_contract::{
    BackendError, BatchOutcome, Result, RowsRead, RowsReadError, Unread, Wakeups, jittered,
};
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::Cell;
use foundationdb::options::TransactionOption;
use foundationdb::{Database, Transaction};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

/// How long a batch is tried before it is given up as not applied.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a batch waits for a cluster that can't be reached: a recovery passes unnoticed.
const OUTAGE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long an answer to a commit may take before it is settled by another transaction.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Pauses between tries grow from the first to the last of these.
const PAUSE_MS: std::ops::Range<u64> = 1..200;
/// Conflicts of one batch after which its lane is claimed.
const CONFLICTS_BORNE: u32 = 2;
/// Cells that are read at once.
const READ_CELLS_MAX: usize = 5_000;
/// Bytes of rows that are read at once.
const READ_BYTES_MAX: usize = 16 << 20;
/// Bytes of writes in one transaction: the limit is 10,000,000.
const WRITE_BYTES_MAX: usize = 9_800_000;

/// A batch on its way, in the order of the calls.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Arc<[Entry]>,
    pub(crate) done: oneshot::Sender<Result<BatchOutcome>>,
}

/// What all of a frontend shares.
#[derive(Clone)]
pub(crate) struct Frontend {
    pub(crate) database: Arc<Database>,
    pub(crate) keys: Keys,
    pub(crate) clock: StoreClock,
    pub(crate) wakeups: Wakeups,
    pub(crate) metrics: FoundationDbMetrics,
    /// Its name, new with each start.
    pub(crate) id: Uuid,
}

impl Frontend {
    /// A transaction that does not read what it writes, which saves the client the work.
    pub(crate) fn begin(&self) -> std::result::Result<Transaction, Failure> {
        let transaction = self.database.create_trx()?;
        transaction.set_option(TransactionOption::ReadYourWritesDisable)?;
        Ok(transaction)
    }

    /// A transaction that can arm watches.
    pub(crate) fn begin_watching(&self) -> std::result::Result<Transaction, Failure> {
        Ok(self.database.create_trx()?)
    }
}

pub(crate) struct Committer {
    frontend: Frontend,
    lane: usize,
    record: BatchRecord,
    turn: Turn,
}

/// What the first entries of a batch have come to, not yet committed.
pub(crate) struct Prepared {
    outcome: BatchOutcome,
    pub(crate) writes: RowMap,
    pub(crate) before: RowMap,
    pub(crate) numbers: Numbers,
}

impl Committer {
    pub(crate) fn new(frontend: Frontend, lane: usize) -> Self {
        let record = BatchRecord::new(frontend.keys.batch(frontend.id, lane));
        let turn = Turn::new(frontend.keys.turn(lane));
        Self { frontend, lane, record, turn }
    }

    /// Commits what comes, until nobody is left who could send.
    pub(crate) async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        while let Some(Job { batch, done }) = jobs.recv().await {
            // Who sent it may be gone; it is committed all the same.
            drop(done.send(self.commit(&batch).await));
        }
    }

    async fn commit(&mut self, mut batch: &[Entry]) -> Result<BatchOutcome> {
        let (deadline, back_by) = (Instant::now() + COMMIT_TIME_MAX, Instant::now() + OUTAGE_TIME_MAX);
        let (mut pause_ms, mut conflicts) = (PAUSE_MS.start, 0);
        loop {
            let (failure, until) = match self.attempt(batch, back_by, conflicts).await {
                Ok(outcome) => return Ok(outcome),
                Err(Failure::NotOurTurn) if Instant::now() < deadline => {
                    if let Err(failure) = self.turn.wait(&self.frontend).await {
                        tracing::debug!(lane = self.lane, ?failure, "the turn can't be waited for");
                    }
                    continue;
                }
                Err(Failure::TooLarge(taken)) if taken > 1 => {
                    tracing::warn!(requests = taken, "a batch was taken for smaller than it is");
                    batch = &batch[..taken / 2];
                    continue;
                }
                Err(failure @ Failure::Unavailable(_)) => (failure, back_by),
                Err(failure @ Failure::Conflict(_)) => (failure, deadline),
                Err(failure) => return Err(failure.into()),
            };
            let pause = jittered(Duration::from_millis(pause_ms));
            if Instant::now() + pause >= until {
                return Err(failure.into());
            }
            tracing::debug!(lane = self.lane, ?failure, "a batch is tried again");
            self.frontend.metrics.retries.inc();
            conflicts += u32::from(matches!(failure, Failure::Conflict(_)));
            sleep(pause).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS.end);
        }
    }

    async fn attempt(
        &mut self,
        batch: &[Entry],
        until: Instant,
        conflicts: u32,
    ) -> std::result::Result<BatchOutcome, Failure> {
        let until = until.max(Instant::now() + Duration::from_secs(1));
        let (transaction, prepared) = loop {
            let transaction = self.frontend.begin()?;
            let preparing = timeout_at(until, self.prepare(&transaction, batch, conflicts));
            match preparing.await.unwrap_or_else(|_| Err(too_long())) {
                Err(Failure::Unsaved(rows)) => {
                    let saving = timeout_at(until, save(&self.frontend, &rows));
                    saving.await.unwrap_or_else(|_| Err(too_long()))?;
                }
                prepared => break (transaction, prepared?),
            }
        };
        if prepared.writes.is_empty() {
            // It was of one version, and is durable: what others can see of a commit is.
            return Ok(prepared.outcome);
        }
        let unanswered = match timeout(ANSWER_TIME_MAX, transaction.commit()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) if error.code() == TRANSACTION_TOO_LARGE => {
                return Err(Failure::TooLarge(prepared.outcome.verdicts.len()));
            }
            Ok(Err(error)) if is_certainly_not_committed(*error) => return Err(Failure::from(*error)),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the cluster takes too long to commit".to_owned()),
        };
        if let Some(reason) = unanswered {
            self.frontend.metrics.settled.inc();
            if let Settled::Undone = self.record.settle(&self.frontend, &reason).await? {
                return Err(Failure::Conflict(reason));
            }
        }
        self.turn.taken_away();
        self.frontend.metrics.commits.inc();
        self.frontend.wakeups.wake(prepared.writes.keys());
        Ok(prepared.outcome)
    }

    /// Everything up to the commit.
    async fn prepare(
        &mut self,
        transaction: &Transaction,
        batch: &[Entry],
        conflicts: u32,
    ) -> std::result::Result<Prepared, Failure> {
        if conflicts >= CONFLICTS_BORNE {
            self.turn.claim(&self.frontend).await?;
        }
        let (mut prepared, claim) =
            futures_util::try_join!(self.decide(transaction, batch), self.turn.stored(transaction))?;
        self.turn.judge(claim)?;
        if !prepared.writes.is_empty() {
            saving::check(&self.frontend, transaction, &mut prepared).await?;
            let Prepared { writes, before, numbers, .. } = &prepared;
            let writes = Writes { keys: &self.frontend.keys, rows: writes, before, numbers };
            futures_util::try_join!(writes.apply(transaction), self.record.number(transaction))?;
            self.turn.take_away(transaction);
        }
        Ok(prepared)
    }

    /// Reads what the batch names and decides it, as far as it fits into one transaction.
    async fn decide(
        &self,
        transaction: &Transaction,
        batch: &[Entry],
    ) -> std::result::Result<Prepared, Failure> {
        let keys = &self.frontend.keys;
        let (mut unread, mut rows, mut numbers) =
            (Unread::of(batch), RowsRead::default(), Numbers::default());
        let (mut taken, mut missing) = (batch.len(), None);
        let mut to_read = true;
        loop {
            if to_read && unread.begin(missing.take(), READ_CELLS_MAX) {
                let found = {
                    let is_header_enough = |cell: &Cell| unread.is_header_enough(cell);
                    let wanted = unread.wanted();
                    read_as_wanted(transaction, keys, wanted, is_header_enough, READ_BYTES_MAX).await?
                };
                let wanted = unread.wanted().iter().zip(&found);
                wanted.for_each(|(cell, found)| note_number(&mut numbers, cell, found));
                unread.take_in(found.into_iter().map(|found| Some(found.row)), &mut rows.0);
            }
            let now_ms = self.frontend.clock.now_ms();
            let Decided { verdicts, writes } = match decide_batch(&batch[..taken], &mut rows, now_ms) {
                Ok(decided) => decided,
                Err(RowsReadError::Missing(cell)) => {
                    // The first entries go alone that are read as a whole; or the first one, for which there is
                    // more to read, then. Where all are whole, a duplicate's answer is missing.
                    let whole = rows.whole_entries(&batch[..taken]);
                    to_read = whole == 0 || whole == taken;
                    taken = whole.max(1);
                    missing = Some(cell).filter(|_| to_read);
                    continue;
                }
                Err(error) => return Err(BackendError::from(error).into()),
            };
            let bytes = Writes { keys, rows: &writes, before: &rows.0, numbers: &numbers }.bytes_max();
            if bytes > WRITE_BYTES_MAX && taken > 1 {
                taken /= 2;
                to_read = false;
                continue;
            }
            let outcome = BatchOutcome { now_ms, verdicts };
            return Ok(Prepared { outcome, writes, before: rows.0, numbers });
        }
    }
}
