//! The [`Backend`]: each request of a batch is a transaction of its own.

use dragon_contract::{
    AccountsPage, Backend, BackendError, BatchOutcome, CommitFuture, Health, Loaded, Result, Snapshot,
    Wakeups, jittered,
};
use dragon_core::UnixMs;
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Verdict;
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More than there are clients: no request waits for another one's.
const COMMITS_IN_FLIGHT: usize = 100_000;
/// How long a request is tried.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Pauses between tries grow from the first to the last of these.
const PAUSE_US: std::ops::Range<u64> = 500..50_000;

/// What goes wrong between the store and the database, told apart by codes.
#[derive(Debug)]
pub enum Failure {
    /// Others were in the way: the same again may succeed.
    Conflict(String),
    /// Anything else.
    Other(BackendError),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict(reason) => Self::Busy(reason),
            Failure::Other(error) => error,
        }
    }
}

/// What requests are committed to, one by one.
#[async_trait::async_trait]
pub trait Database: Send + Sync + 'static {
    /// Commits one request in a transaction of its own. Gives the time, the verdict and the cells that it wrote.
    async fn attempt(&self, entry: &Entry) -> std::result::Result<(UnixMs, Verdict, Vec<Cell>), Failure>;
    /// Reads cells at one moment.
    async fn read(&self, cells: &[Cell]) -> std::result::Result<Loaded, Failure>;
    /// Reads a page at one moment.
    async fn scan(&self, query: &Query) -> std::result::Result<Page, Failure>;
    /// Leaves.
    async fn close(&self) {}
}

/// The store.
pub struct OneByOne(Arc<Shared>);

struct Shared {
    database: Box<dyn Database>,
    wakeups: Wakeups,
    commits: Counter,
    retries: Counter,
}

impl OneByOne {
    /// A store on this database.
    pub fn new(database: impl Database, registry: &mut Registry) -> Self {
        let (commits, retries) = (Counter::default(), Counter::default());
        registry.register("dragon_one_by_one_commits", "Transactions committed", commits.clone());
        registry.register("dragon_one_by_one_retries", "Transactions tried again", retries.clone());
        let (database, wakeups) = (Box::new(database), Wakeups::default());
        Self(Arc::new(Shared { database, wakeups, commits, retries }))
    }
}

impl Shared {
    /// Commits one request, however often others are in the way.
    async fn commit(&self, entry: &Entry) -> Result<(UnixMs, Verdict)> {
        let (begun, mut pause_us) = (Instant::now(), PAUSE_US.start);
        loop {
            match self.database.attempt(entry).await {
                Ok((now_ms, verdict, written)) => {
                    self.commits.inc();
                    self.wakeups.wake(&written);
                    return Ok((now_ms, verdict));
                }
                Err(Failure::Conflict(_)) if begun.elapsed() < TIME_MAX => {}
                Err(failure) => return Err(failure.into()),
            }
            self.retries.inc();
            tokio::time::sleep(jittered(Duration::from_micros(pause_us))).await;
            pause_us = (pause_us * 2).min(PAUSE_US.end);
        }
    }
}

/// The entries of a batch, by number, apart but for those that follow one another on a lock: the next
/// holder's request would find it held if it came before the release.
fn chains(batch: &[Entry]) -> Vec<Vec<usize>> {
    let mut chains: Vec<(Vec<&Cell>, Vec<usize>)> = Vec::new();
    for (number, entry) in batch.iter().enumerate() {
        let request = &entry.request;
        let released = request.released().map(|held| &held.cell);
        let locks: Vec<&Cell> = released.into_iter().chain(request.wanted().map(|it| &it.cell)).collect();
        match chains.iter_mut().find(|(others, _)| locks.iter().any(|lock| others.contains(lock))) {
            Some((others, numbers)) => {
                others.extend(locks);
                numbers.push(number);
            }
            None => chains.push((locks, vec![number])),
        }
    }
    chains.into_iter().map(|(_, numbers)| numbers).collect()
}

#[async_trait::async_trait]
impl Backend for OneByOne {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let tasks = chains(&batch).into_iter().map(|numbers| {
            let (shared, batch) = (Arc::clone(&self.0), Arc::clone(&batch));
            tokio::spawn(async move {
                let mut done = Vec::with_capacity(numbers.len());
                for number in numbers {
                    done.push((number, shared.commit(&batch[number]).await?));
                }
                Ok::<_, BackendError>(done)
            })
        });
        let (tasks, is_single) = (tasks.collect::<Vec<_>>(), batch.len() == 1);
        async move {
            let ended = |_| BackendError::OutcomeUnknown("a committing task ended".into());
            let chains = try_join_all(tasks).await.map_err(ended)?;
            let chains: Result<Vec<_>> = chains.into_iter().collect();
            // The others of the batch may have been committed.
            let chains = chains.map_err(|error| match error {
                error if is_single => error,
                error => BackendError::OutcomeUnknown(error.to_string()),
            })?;
            let mut all: Vec<_> = chains.into_iter().flatten().collect();
            all.sort_unstable_by_key(|(number, _)| *number);
            let now_ms = all.iter().map(|(_, (now_ms, _))| *now_ms).max().unwrap_or_default();
            Ok(BatchOutcome { now_ms, verdicts: all.into_iter().map(|(_, (_, verdict))| verdict).collect() })
        }
        .boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        Ok(self.0.database.read(cells).await?)
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        let registration = self.0.wakeups.register(cell);
        let loaded = self.load(std::slice::from_ref(cell)).await?;
        if layout::stamp(cell, loaded.rows.first().and_then(Option::as_ref))? == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        Ok(self.0.database.scan(query).await?)
    }

    /// Nobody asks for it in a measurement.
    async fn accounts(&self, _after: Option<&Account>, _limit: usize) -> Result<AccountsPage> {
        Err(BackendError::Unavailable("this store lists no accounts".into()))
    }

    /// Nor for this.
    async fn snapshot(&self, _account: &Account) -> Result<Box<dyn Snapshot>> {
        Err(BackendError::Unavailable("this store reads no accounts as a whole".into()))
    }

    /// What has expired stays: it is read as absent all the same, and a measurement ends before it is much.
    async fn sweep(&self, _limit: usize) -> Result<usize> {
        Ok(0)
    }

    async fn health(&self) -> Result<Health> {
        Ok(Health { now_ms: self.load(&[]).await?.now_ms })
    }

    fn pipeline_depth(&self) -> usize {
        COMMITS_IN_FLIGHT
    }

    async fn close(&self) {
        self.0.database.close().await;
    }
}
