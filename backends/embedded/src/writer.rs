//! The thread that makes batches durable. It does little else, because the time until it comes back
//! to the next sync is what bounds the rate of batches.

use crate::engine::{Change, WriteEngine};
use crate::metrics::EmbeddedMetrics;
use dragon_contract::{BackendError, Result, Wakeups};
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::oneshot;

/// Rows written between two checkpoints, about: a page of the log each at worst.
const CHECKPOINT_ROWS: usize = 8_000;

/// One batch to make durable.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) rows: Arc<RowMap>,
    /// The time to note, when it is due.
    pub(crate) latest_ms: Option<UnixMs>,
    pub(crate) done: oneshot::Sender<Result<()>>,
}

/// What the thread tells everyone else.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The number of the last durable batch.
    pub(crate) durable: AtomicU64,
    /// Why the store has stopped, once it has. It stays stopped until a restart: what the disk holds
    /// after a failed sync can't be known.
    pub(crate) stopped: OnceLock<String>,
}

impl Progress {
    /// Refuses work once the store has stopped.
    pub(crate) fn check(&self) -> Result<()> {
        match self.stopped.get() {
            None => Ok(()),
            Some(reason) => Err(BackendError::Unavailable(format!(
                "the store stopped after a failure and needs a restart: {reason}"
            ))),
        }
    }

    pub(crate) fn stop(&self, reason: &str) {
        if self.stopped.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the store stops until a restart");
        }
    }
}

pub(crate) struct WriterThread {
    pub(crate) engine: Box<dyn WriteEngine>,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) progress: Arc<Progress>,
    pub(crate) wakeups: Wakeups,
    pub(crate) metrics: EmbeddedMetrics,
}

impl WriterThread {
    /// Works until nobody can send jobs any more.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let mut rows_since_checkpoint = 0;
        while let Ok(job) = jobs.recv() {
            let mut group = vec![job];
            group.extend(jobs.try_iter());
            rows_since_checkpoint += self.commit(group);
            if rows_since_checkpoint >= CHECKPOINT_ROWS {
                rows_since_checkpoint = 0;
                // The thread is only gone when the store closes.
                self.checkpointer.due.send(()).unwrap_or_default();
            }
            if self.checkpointer.moved_most.swap(false, Ordering::AcqRel) {
                self.move_the_rest();
            }
        }
    }

    /// SQLite begins its log anew only when a transaction finds all of it moved, which the
    /// checkpointing thread never gets done while commits go on; so the little that came meanwhile is
    /// moved here, between two commits.
    fn move_the_rest(&mut self) {
        if let Err(error) = self.engine.checkpoint() {
            tracing::warn!(%error, "a checkpoint failed; the log grows until the next one");
        }
    }

    /// Commits the batches as one transaction, answers them, and returns how many rows it wrote.
    fn commit(&mut self, group: Vec<Job>) -> usize {
        let result = self.progress.check().and_then(|()| self.write(&group));
        if result.is_ok() {
            if let Some(last) = group.last() {
                self.progress.durable.store(last.number, Ordering::Release);
            }
            for job in &group {
                self.wakeups.wake(job.rows.keys());
            }
        }
        let rows = group.iter().map(|job| job.rows.len()).sum();
        for job in group {
            // Nobody has to wait for the end of a batch.
            job.done.send(result.clone()).unwrap_or_default();
        }
        rows
    }

    fn write(&mut self, group: &[Job]) -> Result<()> {
        let mut change =
            Change { rows: Vec::new(), latest_ms: group.iter().filter_map(|job| job.latest_ms).max() };
        for (at, job) in group.iter().enumerate() {
            let is_last = |cell| group[at + 1..].iter().all(|later| !later.rows.contains_key(cell));
            change.rows.extend(
                job.rows.iter().filter(|(cell, _)| is_last(cell)).map(|(cell, row)| (cell, row.as_ref())),
            );
        }
        if change.rows.is_empty() && change.latest_ms.is_none() {
            return Ok(()); // They only wait for what came before.
        }
        // Neighbours in the tree are written one after the other.
        change.rows.sort_unstable_by_key(|(cell, _)| *cell);
        let begun = Instant::now();
        let written = self.engine.write(&change);
        self.metrics.sync_seconds.observe(begun.elapsed().as_secs_f64());
        self.metrics.rows_written.inc_by(change.rows.len() as u64);
        written.map_err(|error| {
            self.progress.stop(&error.message);
            if error.nothing_applied {
                BackendError::Unavailable(error.message)
            } else {
                BackendError::OutcomeUnknown(error.message)
            }
        })
    }
}

/// The thread that moves the log into the database file, beside the commits.
pub(crate) struct Checkpointer {
    due: Sender<()>,
    /// Set when it is done, with all but what was committed meanwhile.
    moved_most: Arc<AtomicBool>,
}

impl Checkpointer {
    pub(crate) fn start(
        mut engine: Box<dyn WriteEngine>,
        metrics: EmbeddedMetrics,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (due, told) = channel();
        let moved_most = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&moved_most);
        let thread = std::thread::Builder::new().name("dragon-checkpoint".into()).spawn(move || {
            while told.recv().is_ok() {
                let begun = Instant::now();
                match engine.checkpoint() {
                    Ok(()) => done.store(true, Ordering::Release),
                    // The log keeps what was not moved; the next checkpoint finds it.
                    Err(error) => {
                        tracing::warn!(%error, "a checkpoint failed; the log grows until the next one")
                    }
                }
                metrics.checkpoint_seconds.observe(begun.elapsed().as_secs_f64());
            }
        })?;
        Ok((Self { due, moved_most }, thread))
    }
}
