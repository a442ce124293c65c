//! The [`Backend`]: decides batches in memory, hands them to the writing thread, and reads beside it.

use crate::clock::Clock;
use crate::database::{Reader, Writer, failed, open_reader};
use crate::directory::{Directory, OpenError};
use crate::durable::{Durable, SweepCursor};
use crate::metrics::EmbeddedMetrics;
use crate::mover::Mover;
use crate::progress::Progress;
use crate::rows::LatestRows;
use crate::snapshot::Snapshots;
use crate::verify::{self, Opened};
use crate::write_engine::WriteEngine;
use crate::writer::{Job, LogBounds, WriterThread};
use bytes::Bytes;
use dragon_contract::{
    AccountsPage, Backend, BackendError, BatchOutcome, CommitFuture, Health, Loaded, Result, Snapshot,
    Wakeups,
};
use dragon_core::UnixMs;
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::{Account, Cell, all_of};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Rows as _;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A data folder that is being served. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Shared>);

/// Lock order: `deciding`, then `clock`; `sweep`, then `scanning`; the layers' lock in `durable` last. What is an `Option` is
/// `None` once the store is closed.
struct Shared {
    deciding: Mutex<Option<Deciding>>,
    clock: Mutex<Clock>,
    reading: Mutex<Option<Reader>>,
    scanning: Mutex<Option<Reader>>,
    sweep: Mutex<SweepCursor>,
    database: PathBuf,
    snapshots: Snapshots,
    durable: Durable,
    progress: Arc<Progress>,
    wakeups: Wakeups,
    threads: Mutex<Threads>,
}

/// What the order of batches depends on.
struct Deciding {
    rows: LatestRows,
    last_number: u64,
    jobs: Sender<Job>,
}

/// `None` once they have ended.
struct Threads {
    writer: Option<JoinHandle<()>>,
    mover: Option<JoinHandle<Writer>>,
    directory: Directory,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmbeddedStore").field("progress", &self.0.progress).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the folder, making it if need be, and checks everything in it.
    ///
    /// # Errors
    /// [`OpenError`], in words for the operator. Nothing was changed then.
    pub fn open(
        folder: &Path,
        bounds: LogBounds,
        metrics: EmbeddedMetrics,
    ) -> std::result::Result<Self, OpenError> {
        Self::open_through(folder, bounds, metrics, |engine| engine)
    }

    /// Opens with something between the store and its writing engine.
    pub(crate) fn open_through(
        folder: &Path,
        bounds: LogBounds,
        metrics: EmbeddedMetrics,
        through: impl FnOnce(Box<dyn WriteEngine>) -> Box<dyn WriteEngine>,
    ) -> std::result::Result<Self, OpenError> {
        let Opened { mut directory, log, moved, mover, deciding, reading, scanning } = verify::open(folder)?;
        directory.mark_open().map_err(|error| directory.failed(error))?;

        let (progress, wakeups, durable) =
            (Arc::<Progress>::default(), Wakeups::default(), Durable::default());
        let failed = |source| OpenError::Io { folder: folder.to_owned(), source };
        let (mover, mover_thread) =
            Mover::start(mover, durable.clone(), Arc::clone(&progress), metrics.clone(), folder.to_owned())
                .map_err(failed)?;
        let (jobs, queue) = channel();
        let thread = WriterThread {
            engine: through(Box::new(log)),
            bounds,
            next_sequence: moved.next_sequence,
            latest_ms: moved.latest_ms,
            mover,
            durable: durable.clone(),
            progress: Arc::clone(&progress),
            wakeups: wakeups.clone(),
            metrics,
        };
        let writer_thread = std::thread::Builder::new().name("dragon-sync".into());
        let writer_thread = writer_thread.spawn(move || thread.run(&queue)).map_err(failed)?;
        let rows = LatestRows::new(durable.clone(), deciding);
        let deciding = Deciding { rows, last_number: 0, jobs };
        Ok(Self(Arc::new(Shared {
            deciding: Mutex::new(Some(deciding)),
            clock: Mutex::new(Clock::start(moved.latest_ms)),
            reading: Mutex::new(Some(reading)),
            scanning: Mutex::new(Some(scanning)),
            sweep: Mutex::default(),
            database: directory.database(),
            snapshots: Snapshots::default(),
            durable,
            progress,
            wakeups,
            threads: Mutex::new(Threads {
                writer: Some(writer_thread),
                mover: Some(mover_thread),
                directory,
            }),
        })))
    }
}

impl Shared {
    fn now_ms(&self) -> UnixMs {
        self.clock.lock().now_ms()
    }

    /// Decides a batch and hands it on; what it returns resolves when the batch is durable.
    fn decide(&self, batch: &[Entry]) -> Result<(BatchOutcome, Durability)> {
        let mut deciding = self.deciding.lock();
        let deciding = deciding.as_mut().ok_or_else(closed)?;
        self.progress.check()?;
        deciding.rows.retire(self.progress.durable.load(Ordering::Acquire));
        let now_ms = self.now_ms();
        let decided = decide_batch(batch, &mut deciding.rows, now_ms);
        let Decided { verdicts, writes } =
            decided.inspect_err(|error| self.progress.stop_if_corrupt(error))?;
        let durable = deciding.hand_on(writes, now_ms)?;
        Ok((BatchOutcome { now_ms, verdicts }, durable))
    }

    fn read<T>(
        &self,
        reader: &Mutex<Option<Reader>>,
        read: impl FnOnce(&Durable, &mut Reader) -> Result<T>,
    ) -> Result<T> {
        self.progress.check()?;
        let mut reader = reader.lock();
        let reader = reader.as_mut().ok_or_else(closed)?;
        read(&self.durable, reader).inspect_err(|error| self.progress.stop_if_corrupt(error))
    }

    /// Rows as of one moment.
    fn load(&self, cells: &[Cell]) -> Result<Vec<Option<Bytes>>> {
        self.progress.check()?;
        match self.durable.rows_at_hand(cells) {
            Some(rows) => Ok(rows),
            None => self.read(&self.reading, |durable, reader| durable.rows(reader, cells)),
        }
    }

    /// Decides which of the rows found are still expired, and hands their deletion on.
    fn sweep(&self, limit: usize) -> Result<(usize, Durability)> {
        let now_ms = self.now_ms();
        let mut cursor = self.sweep.lock();
        let found =
            self.read(&self.scanning, |durable, reader| durable.swept(reader, &mut cursor, now_ms, limit))?;
        drop(cursor);
        let mut deciding = self.deciding.lock();
        let deciding = deciding.as_mut().ok_or_else(closed)?;
        self.progress.check()?;
        let mut writes = RowMap::default();
        for cell in found {
            let row = deciding.rows.row(&cell).inspect_err(|error| self.progress.stop_if_corrupt(error))?;
            let Some(row) = row else { continue };
            if layout::sweep_at_ms(&cell, &row)?.is_some_and(|sweep_at_ms| sweep_at_ms <= now_ms) {
                writes.insert(cell, None);
            }
        }
        let swept = writes.len();
        Ok((swept, deciding.hand_on(writes, now_ms)?))
    }
}

/// When a batch is durable.
enum Durability {
    Already,
    Once(oneshot::Receiver<Result<()>>),
}

impl Durability {
    async fn reached(self) -> Result<()> {
        match self {
            Self::Already => Ok(()),
            Self::Once(done) => done.await.unwrap_or_else(|_| {
                Err(BackendError::OutcomeUnknown("the writing thread ended before it answered".into()))
            }),
        }
    }
}

impl Deciding {
    fn hand_on(&mut self, writes: RowMap, now_ms: UnixMs) -> Result<Durability> {
        if writes.is_empty() && self.rows.is_settled() {
            return Ok(Durability::Already);
        }
        let number = self.last_number + 1;
        let rows = Arc::new(writes);
        let (done, receiver) = oneshot::channel();
        let job = Job { number, rows: Arc::clone(&rows), now_ms, done };
        self.jobs.send(job).map_err(|_| closed())?;
        self.last_number = number;
        self.rows.decided(number, rows);
        Ok(Durability::Once(receiver))
    }
}

#[async_trait::async_trait]
impl Backend for EmbeddedStore {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let decided = self.0.decide(&batch);
        async move {
            let (outcome, durable) = decided?;
            durable.reached().await?;
            Ok(outcome)
        }
        .boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        let rows = self.0.load(cells)?;
        Ok(Loaded { now_ms: self.0.now_ms(), rows })
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        let registration = self.0.wakeups.register(cell);
        let rows = self.0.load(std::slice::from_ref(cell))?;
        let row = rows.first().and_then(Option::as_ref);
        if layout::stamp(cell, row)? == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        let (shared, query) = (Arc::clone(&self.0), query.clone());
        blocking(move || {
            let now_ms = shared.now_ms();
            shared.read(&shared.scanning, |durable, reader| durable.page(reader, &query, now_ms))
        })
        .await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        let (shared, after) = (Arc::clone(&self.0), after.cloned());
        blocking(move || {
            shared.read(&shared.scanning, |durable, reader| durable.accounts(reader, after.as_ref(), limit))
        })
        .await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        let (shared, account) = (Arc::clone(&self.0), account.clone());
        let snapshot = blocking(move || {
            shared.progress.check()?;
            shared.snapshots.check()?;
            let reader = open_reader(&shared.database).map_err(failed)?;
            let rows = shared.durable.snapshot(reader, &account)?;
            let snapshot = shared.snapshots.begin(rows, Arc::clone(&shared.progress))?;
            // Closing may have ended all snapshots just before this one began.
            if shared.progress.closing.load(Ordering::Acquire) { Err(closed()) } else { Ok(snapshot) }
        });
        Ok(Box::new(snapshot.await?))
    }

    async fn stored_bytes(&self, account: &Account) -> Result<u64> {
        let (shared, account) = (Arc::clone(&self.0), account.clone());
        blocking(move || {
            // One of its own, since it may take a while.
            let mut reader = open_reader(&shared.database).map_err(failed)?;
            let (mut names, mut bytes) = (all_of(&account), 0);
            while names.start < names.end {
                shared.progress.check()?;
                if shared.progress.closing.load(Ordering::Acquire) {
                    return Err(closed());
                }
                let step = shared.durable.next_stored_bytes(&mut reader, &account, &mut names);
                bytes += step.inspect_err(|error| shared.progress.stop_if_corrupt(error))?;
            }
            Ok(bytes)
        })
        .await
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        let shared = Arc::clone(&self.0);
        let (swept, durable) = blocking(move || shared.sweep(limit)).await?;
        durable.reached().await?;
        Ok(swept)
    }

    async fn health(&self) -> Result<Health> {
        self.0.progress.check()?;
        Ok(Health { now_ms: self.0.now_ms() })
    }

    fn pipeline_depth(&self) -> usize {
        2
    }

    async fn close(&self) {
        let shared = Arc::clone(&self.0);
        let closed = blocking(move || {
            shared.close();
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "closing the store failed");
        }
    }
}

fn closed() -> BackendError {
    BackendError::Unavailable("the store is closed".into())
}

impl Shared {
    /// Lets the threads finish what they have: the last thing they do is to move the log into the database.
    /// Then the folder is noted as closed, before the last connection goes and takes SQLite's log with it.
    fn close(&self) {
        self.progress.closing.store(true, Ordering::Release);
        drop(self.deciding.lock().take());
        let mut threads = self.threads.lock();
        let writer_ended = threads.writer.take().is_none_or(|writer| writer.join().is_ok());
        let Some(mover) = threads.mover.take() else { return };
        drop((self.reading.lock().take(), self.scanning.lock().take()));
        self.snapshots.end();
        let (true, Ok(database)) = (writer_ended, mover.join()) else {
            tracing::error!("a thread of the store panicked");
            return;
        };
        let is_moved = self.durable.0.lock().is_empty() && self.progress.stopped.get().is_none();
        let noted = database.settle().map_err(|error| error.to_string()).and_then(|()| {
            let directory = &mut threads.directory;
            let noted = if is_moved { directory.close_in_order() } else { directory.close_unmoved() };
            noted.map_err(|error| error.to_string())
        });
        if let Err(error) = noted {
            tracing::warn!(error, "the data folder could not be marked as closed");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs what may take milliseconds where it delays nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = |error: tokio::task::JoinError| Err(BackendError::Unavailable(error.to_string()));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(ended)
}
