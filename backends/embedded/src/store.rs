//! The [`Backend`]: decides batches in memory, hands them to the writing thread, and reads beside it.

use crate::clock::Clock;
use crate::directory::{Directory, OpenError};
use crate::engine::{Reader, WriteEngine};
use crate::metrics::EmbeddedMetrics;
use crate::rows::LatestRows;
use crate::verify::{self, Opened};
use crate::writer::{Checkpointer, Job, Progress, WriterThread};
use bytes::Bytes;
use dragon_contract::{
    AccountsPage, Backend, BackendError, BatchOutcome, CommitFuture, Health, LOAD_BYTES_MAX, Loaded, Result,
    Wakeups,
};
use dragon_core::UnixMs;
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::{Account, Cell, past};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Rows as _;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// How often the store's time is noted in the file, in milliseconds.
const NOTE_TIME_EVERY_MS: u64 = 1_000;

/// A data folder that is being served. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Shared>);

/// Lock order: `deciding`, then `clock`. `reading` and `scanning` are leaves. What is an `Option` is
/// `None` once the store is closed.
struct Shared {
    deciding: Mutex<Option<Deciding>>,
    clock: Mutex<Clock>,
    reading: Mutex<Option<Reader>>,
    scanning: Mutex<Option<Reader>>,
    progress: Arc<Progress>,
    wakeups: Wakeups,
    threads: Mutex<Threads>,
}

/// What the order of batches depends on.
struct Deciding {
    rows: LatestRows,
    last_number: u64,
    noted_ms: UnixMs,
    jobs: Sender<Job>,
}

struct Threads {
    running: Vec<JoinHandle<()>>,
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
    pub fn open(folder: &Path, metrics: EmbeddedMetrics) -> std::result::Result<Self, OpenError> {
        Self::open_through(folder, metrics, |engine| engine)
    }

    /// Opens with something between the store and its writing engine.
    pub(crate) fn open_through(
        folder: &Path,
        metrics: EmbeddedMetrics,
        through: impl FnOnce(Box<dyn WriteEngine>) -> Box<dyn WriteEngine>,
    ) -> std::result::Result<Self, OpenError> {
        let Opened { mut directory, writer, checkpointer, deciding, reading, scanning } =
            verify::open(folder)?;
        let stored_ms = writer.latest_ms().map_err(|error| directory.damaged(error))?;
        let mut clock = Clock::start(stored_ms);
        let mut engine: Box<dyn WriteEngine> = Box::new(writer);
        // The first write makes the log, so that its absence later means something.
        let latest_ms = Some(clock.now_ms());
        let first = crate::engine::Change { rows: Vec::new(), latest_ms };
        engine.write(&first).map_err(|error| directory.failed(std::io::Error::other(error)))?;
        directory.mark_open().map_err(|error| directory.failed(error))?;

        let (progress, wakeups) = (Arc::new(Progress::default()), Wakeups::default());
        let failed = |source| OpenError::Io { folder: folder.to_owned(), source };
        let (checkpoint, checkpoint_thread) =
            Checkpointer::start(Box::new(checkpointer), metrics.clone()).map_err(failed)?;
        let (jobs, queue) = channel();
        let thread = WriterThread {
            engine: through(engine),
            checkpointer: checkpoint,
            progress: Arc::clone(&progress),
            wakeups: wakeups.clone(),
            metrics,
        };
        let writer_thread = std::thread::Builder::new().name("dragon-sync".into());
        let writer_thread = writer_thread.spawn(move || thread.run(&queue)).map_err(failed)?;
        let deciding = Deciding { rows: LatestRows::new(deciding), last_number: 0, noted_ms: 0, jobs };
        Ok(Self(Arc::new(Shared {
            deciding: Mutex::new(Some(deciding)),
            clock: Mutex::new(clock),
            reading: Mutex::new(Some(reading)),
            scanning: Mutex::new(Some(scanning)),
            progress,
            wakeups,
            threads: Mutex::new(Threads { running: vec![writer_thread, checkpoint_thread], directory }),
        })))
    }
}

impl Shared {
    fn now_ms(&self) -> UnixMs {
        self.clock.lock().now_ms()
    }

    /// Decides a batch and hands it on; what it returns resolves when the batch is durable.
    fn decide(&self, batch: &[Entry]) -> Result<(BatchOutcome, Durable)> {
        let mut deciding = self.deciding.lock();
        let deciding = deciding.as_mut().ok_or_else(closed)?;
        self.progress.check()?;
        deciding.rows.retire(self.progress.durable.load(Ordering::Acquire));
        let now_ms = self.now_ms();
        let decided = decide_batch(batch, &mut deciding.rows, now_ms);
        let Decided { verdicts, writes } = decided.inspect_err(|error| self.stop_if_corrupt(error))?;
        let durable = deciding.hand_on(writes, now_ms)?;
        Ok((BatchOutcome { now_ms, verdicts }, durable))
    }

    /// A store that has shown damage takes no more writes, which could bury it.
    fn stop_if_corrupt(&self, error: &BackendError) {
        if let BackendError::Corrupt(reason) = error {
            self.progress.stop(reason);
        }
    }

    fn read<T>(&self, reader: &Mutex<Option<Reader>>, read: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        self.progress.check()?;
        let mut reader = reader.lock();
        let reader = reader.as_mut().ok_or_else(closed)?;
        reader.at_one_moment(read).inspect_err(|error| self.stop_if_corrupt(error))
    }

    fn scan(&self, query: &Query) -> Result<Page> {
        let now_ms = self.now_ms();
        self.read(&self.scanning, |reader| {
            let meta = reader.row(&query.meta())?;
            let mut page = Page::begin(query, meta.as_ref(), now_ms)?;
            let stem = query.stem();
            reader.scan(&query.from(), |cell, row| {
                if !cell.as_bytes().starts_with(&stem) {
                    return Ok(ControlFlow::Break(()));
                }
                Ok(page.push(cell, row)?)
            })?;
            Ok(page)
        })
    }

    fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        let mut from = after.map_or_else(Vec::new, past);
        let mut page = AccountsPage::default();
        self.read(&self.scanning, |reader| {
            loop {
                let mut next = None;
                reader.scan(&from, |cell, _| {
                    next = Some(cell);
                    Ok(ControlFlow::Break(()))
                })?;
                let Some(cell) = next else { break };
                if page.accounts.len() == limit {
                    page.more = true;
                    break;
                }
                let account = cell.account();
                from = past(&account);
                page.accounts.push(account);
            }
            Ok(page)
        })
    }

    /// Decides which of the rows found are still expired, and hands their deletion on.
    fn sweep(&self, limit: usize) -> Result<(usize, Durable)> {
        let now_ms = self.now_ms();
        let found = self.read(&self.scanning, |reader| reader.swept(now_ms, limit))?;
        let mut deciding = self.deciding.lock();
        let deciding = deciding.as_mut().ok_or_else(closed)?;
        self.progress.check()?;
        let mut writes = RowMap::default();
        for cell in found {
            let Some(row) = deciding.rows.row(&cell)? else { continue };
            if layout::sweep_at_ms(&cell, &row)?.is_some_and(|sweep_at_ms| sweep_at_ms <= now_ms) {
                writes.insert(cell, None);
            }
        }
        let swept = writes.len();
        Ok((swept, deciding.hand_on(writes, now_ms)?))
    }
}

/// When a batch is durable.
enum Durable {
    Already,
    Once(oneshot::Receiver<Result<()>>),
}

impl Durable {
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
    fn hand_on(&mut self, writes: RowMap, now_ms: UnixMs) -> Result<Durable> {
        if writes.is_empty() && self.rows.is_settled() {
            return Ok(Durable::Already);
        }
        let note_time = now_ms >= self.noted_ms + NOTE_TIME_EVERY_MS && !writes.is_empty();
        let latest_ms = note_time.then_some(now_ms);
        let number = self.last_number + 1;
        let rows = Arc::new(writes);
        let (done, receiver) = oneshot::channel();
        let job = Job { number, rows: Arc::clone(&rows), latest_ms, done };
        self.jobs.send(job).map_err(|_| closed())?;
        self.last_number = number;
        self.noted_ms = latest_ms.unwrap_or(self.noted_ms);
        self.rows.decided(number, rows);
        Ok(Durable::Once(receiver))
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
        let rows = self.0.read(&self.0.reading, |reader| {
            let mut rows: Vec<Option<Bytes>> = Vec::with_capacity(cells.len());
            let mut bytes = 0;
            for cell in cells {
                if bytes > LOAD_BYTES_MAX {
                    break;
                }
                let row = reader.row(cell)?;
                bytes += row.as_ref().map_or(0, Bytes::len);
                rows.push(row);
            }
            Ok(rows)
        })?;
        Ok(Loaded { now_ms: self.0.now_ms(), rows })
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        let registration = self.0.wakeups.register(cell);
        let row = self.0.read(&self.0.reading, |reader| reader.row(cell))?;
        if layout::stamp(cell, row.as_ref())? == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        let (shared, query) = (Arc::clone(&self.0), query.clone());
        blocking(move || shared.scan(&query)).await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        let (shared, after) = (Arc::clone(&self.0), after.cloned());
        blocking(move || shared.accounts(after.as_ref(), limit)).await
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
    /// Lets the threads finish what they have. When the last connection is gone, SQLite has moved its
    /// log into the database and removed it; only then the folder counts as closed in order.
    fn close(&self) {
        drop(self.deciding.lock().take());
        let mut threads = self.threads.lock();
        for thread in threads.running.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        drop((self.reading.lock().take(), self.scanning.lock().take()));
        if threads.directory.log().exists() {
            return;
        }
        if let Err(error) = threads.directory.mark_closed() {
            tracing::warn!(%error, "the data folder could not be marked as closed");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs what may take milliseconds where it delays nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = |error: tokio::task::JoinError| Err(BackendError::Unavailable(error.to_string()));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(ended)
}
