//! The thread that makes batches durable. It does little else, because the time until it comes back
//! to the next sync is what bounds the rate of batches.

use crate::database::Moved;
use crate::durable::Durable;
use crate::metrics::EmbeddedMetrics;
use crate::mover::{Mover, Order};
use crate::progress::Progress;
use crate::write_engine::{Change, WriteEngine};
use dragon_contract::{BackendError, Result, Wakeups};
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Instant;
use tokio::sync::oneshot;

/// When the log begins a new file and the rows of the last one are moved. Commits wait for a move that is
/// still under way at twice that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// So long is a file then, in bytes, …
    pub file_bytes: u64,
    /// … or so much memory do its rows take, in bytes.
    pub rows_bytes: usize,
}

impl LogBounds {
    /// The default length of a file.
    pub const FILE_BYTES_DEFAULT: u64 = 32 << 20;

    /// Bounds for files of about this length.
    #[must_use]
    pub fn of_files(file_bytes: u64) -> Self {
        let rows_bytes = usize::try_from(file_bytes + file_bytes / 2).unwrap_or(usize::MAX);
        Self { file_bytes, rows_bytes }
    }

    fn are_passed(self, times: usize, file_bytes: u64, rows_bytes: usize) -> bool {
        file_bytes >= self.file_bytes.saturating_mul(times as u64)
            || rows_bytes >= self.rows_bytes.saturating_mul(times)
    }
}

impl Default for LogBounds {
    fn default() -> Self {
        Self::of_files(Self::FILE_BYTES_DEFAULT)
    }
}

/// One batch to make durable.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) rows: Arc<RowMap>,
    /// The store's time at which it was decided.
    pub(crate) now_ms: UnixMs,
    pub(crate) done: oneshot::Sender<Result<()>>,
}

pub(crate) struct WriterThread {
    pub(crate) engine: Box<dyn WriteEngine>,
    pub(crate) bounds: LogBounds,
    /// The sequence of the next record.
    pub(crate) next_sequence: u64,
    pub(crate) latest_ms: UnixMs,
    pub(crate) mover: Mover,
    pub(crate) durable: Durable,
    pub(crate) progress: Arc<Progress>,
    pub(crate) wakeups: Wakeups,
    pub(crate) metrics: EmbeddedMetrics,
}

/// A store whose writing thread is gone says so.
struct StopOnPanic(Arc<Progress>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop("the writing thread panicked");
        }
    }
}

impl WriterThread {
    /// Works until nobody can send jobs any more, then moves what is left.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let _guard = StopOnPanic(Arc::clone(&self.progress));
        while let Ok(job) = jobs.recv() {
            let mut group = vec![job];
            group.extend(jobs.try_iter());
            self.commit(group);
            self.move_when_due();
        }
        if self.mover.wait() && self.progress.stopped.get().is_none() {
            self.begin_move();
            self.mover.wait();
        }
    }

    fn move_when_due(&mut self) {
        let rows_bytes = self.durable.0.lock().newest_bytes();
        let file_bytes = self.engine.written_bytes();
        let are_passed = |times| self.bounds.are_passed(times, file_bytes, rows_bytes);
        if !are_passed(1) || self.progress.stopped.get().is_some() {
            return;
        }
        let must_wait = are_passed(2);
        if self.mover.is_busy() && !must_wait {
            return;
        }
        if self.mover.wait() && self.progress.stopped.get().is_none() {
            self.begin_move();
        }
    }

    fn begin_move(&mut self) {
        match self.engine.begin_file() {
            Ok(file) => {
                let Some(layer) = self.durable.0.lock().freeze() else {
                    return self.progress.stop("a layer was to be moved before the last one was");
                };
                let moved = Moved { file, next_sequence: self.next_sequence, latest_ms: self.latest_ms };
                self.mover.begin(Order { layer, moved });
            }
            Err(error) => self.progress.stop(&format!("the log can't go on in a new file: {error}")),
        }
    }

    /// Commits the batches as one record and answers them.
    fn commit(&mut self, group: Vec<Job>) {
        let result = self.progress.check().and_then(|()| self.write(&group));
        if result.is_ok() {
            if let Some(last) = group.last() {
                self.progress.durable.store(last.number, Ordering::Release);
            }
            for job in &group {
                self.wakeups.wake(job.rows.keys());
            }
        }
        for job in group {
            // Nobody has to wait for the end of a batch.
            job.done.send(result.clone()).unwrap_or_default();
        }
    }

    fn write(&mut self, group: &[Job]) -> Result<()> {
        let latest_ms = group.iter().map(|job| job.now_ms).max().unwrap_or_default();
        let mut change = Change { rows: Vec::new(), latest_ms };
        for (at, job) in group.iter().enumerate() {
            let is_last = |cell| group[at + 1..].iter().all(|later| !later.rows.contains_key(cell));
            change.rows.extend(
                job.rows.iter().filter(|(cell, _)| is_last(cell)).map(|(cell, row)| (cell, row.as_ref())),
            );
        }
        if change.rows.is_empty() {
            return Ok(()); // They only wait for what came before.
        }
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
        })?;
        self.next_sequence += 1;
        self.latest_ms = self.latest_ms.max(latest_ms);
        let mut layers = self.durable.0.lock();
        let taken_in = group.iter().try_for_each(|job| layers.put_all(&job.rows));
        // They were decided a moment ago: unreadable rows would be a fault of this program.
        taken_in.map_err(|error| {
            self.progress.stop(&error.to_string());
            BackendError::OutcomeUnknown(error.to_string())
        })
    }
}
