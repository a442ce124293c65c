//! The [`Backend`]: hands batches to the lanes in the order of the calls, reads beside them, and keeps the
//! tasks of one store.

use crate::address::Address;
use crate::clock::StoreClock;
use crate::committer::{Committer, Frontend, Job};
use crate::failure::{ConnectError, Failure, too_long};
use crate::housekeeping::{self, Findings};
use crate::keys::Keys;
use crate::metrics::FoundationDbMetrics;
use crate::network::Network;
use crate::watches::{WATCHES_OF_CLIENT_MAX, Watches};
use crate::{opening, pages, rows, snapshots, sweeping};
use dragon_contract::{
    AccountsPage, Backend, BackendError, CommitFuture, Health, LOAD_BYTES_MAX, Loaded, Result, Snapshot,
    Wakeups, lane_of, mark_accounts,
};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use foundationdb::Database;
use foundationdb::options::DatabaseOption;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use uuid::Uuid;

/// Lanes, the same on all frontends: claims are by lane.
const LANES: usize = 4;
/// Longest wait for rows or a page.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the cluster to say that it is well: less than a probe waits.
const HEALTH_TIME_MAX: Duration = Duration::from_millis(900);
/// How often one sweep looks for what is due.
const SWEEP_ROUNDS_MAX: usize = 10;
/// Tries of a read whose transaction has become too old.
const READ_TRIES: usize = 3;

/// One frontend's hold on a store. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct FoundationDbStore(Arc<Shared>);

/// How far opening has come: `None` = not yet.
type Opened = Option<std::result::Result<(), Arc<ConnectError>>>;

struct Shared {
    frontend: Frontend,
    findings: Findings,
    watches: Watches,
    /// Where each lane takes its batches from. Empty once the store is closed.
    lanes: Mutex<Vec<UnboundedSender<Job>>>,
    committing: Mutex<JoinSet<()>>,
    opened: watch::Receiver<Opened>,
    /// Opens the store, then keeps house.
    beside: JoinHandle<()>,
}

impl fmt::Debug for FoundationDbStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FoundationDbStore")
            .field("frontend", &self.0.frontend.id)
            .finish_non_exhaustive()
    }
}

impl FoundationDbStore {
    /// Begins to open the store; many frontends may do so at once. Until it is [opened](Self::opened) it is
    /// unavailable. Call it in a runtime.
    ///
    /// # Errors
    /// [`ConnectError`] when the cluster file can't be used.
    pub fn open(
        _network: &Network,
        address: &Address,
        metrics: FoundationDbMetrics,
    ) -> std::result::Result<Self, ConnectError> {
        let frontend = Frontend {
            database: Arc::new(database(address)?),
            keys: Keys::new(address.prefix()),
            clock: StoreClock::default(),
            wakeups: Wakeups::default(),
            metrics,
            id: Uuid::new_v4(),
        };
        let findings = Findings::default();
        let (mut lanes, mut committing) = (Vec::with_capacity(LANES), JoinSet::new());
        for lane in 0..LANES {
            let (jobs, queue) = unbounded_channel();
            committing.spawn(Committer::new(frontend.clone(), lane).run(queue));
            lanes.push(jobs);
        }
        let (tell, opened) = watch::channel(None);
        let beside = tokio::spawn(open_and_stay(frontend.clone(), findings.clone(), tell));
        let (lanes, committing) = (Mutex::new(lanes), Mutex::new(committing));
        let watches = Watches::default();
        Ok(Self(Arc::new(Shared { frontend, findings, watches, lanes, committing, opened, beside })))
    }

    /// Waits until the store is open, however long the cluster is away.
    ///
    /// # Errors
    /// [`ConnectError`], in words for the operator, when waiting won't help.
    pub async fn opened(&self) -> std::result::Result<(), Arc<ConnectError>> {
        let mut opened = self.0.opened.clone();
        match opened.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone().unwrap_or(Ok(())),
            Err(_) => Err(Arc::new(ConnectError::Unavailable("opening it was given up".into()))),
        }
    }

    fn refuse_unless_open(&self) -> Result<()> {
        let unavailable = |reason: String| Err(BackendError::Unavailable(reason));
        match &*self.0.opened.borrow() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => unavailable(error.to_string()),
            None => unavailable("the cluster has not been reached yet".into()),
        }
    }
}

fn database(address: &Address) -> std::result::Result<Database, ConnectError> {
    let file = address.cluster_file();
    let path = file.map(|file| file.to_string_lossy());
    let unusable = |error| ConnectError::ClusterFile {
        file: file.map_or_else(|| "the client's default".into(), Into::into),
        error,
    };
    let database = Database::new(path.as_deref()).map_err(unusable)?;
    database.set_option(DatabaseOption::MaxWatches(WATCHES_OF_CLIENT_MAX)).map_err(unusable)?;
    Ok(database)
}

/// Opens the store and tells how that went, then keeps house.
async fn open_and_stay(frontend: Frontend, findings: Findings, opened: watch::Sender<Opened>) {
    match opening::open(&frontend, &findings).await {
        Ok(housekeeper) => {
            opened.send_replace(Some(Ok(())));
            housekeeper.run().await;
        }
        Err(error) => drop(opened.send_replace(Some(Err(Arc::new(error))))),
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.beside.abort();
    }
}

/// A read that takes too long is given up; one whose version has become too old is done again.
pub(crate) async fn read<T, Reading>(reading: impl Fn() -> Reading) -> Result<T>
where
    Reading: Future<Output = std::result::Result<T, Failure>>,
{
    let trying = async {
        for _ in 1..READ_TRIES {
            match reading().await {
                Err(Failure::Conflict(reason)) => tracing::debug!(reason, "a read is tried again"),
                read => return read,
            }
        }
        reading().await
    };
    Ok(timeout(READ_TIME_MAX, trying).await.unwrap_or_else(|_| Err(too_long()))?)
}

async fn load(frontend: &Frontend, cells: &[Cell]) -> std::result::Result<Loaded, Failure> {
    let transaction = frontend.begin()?;
    let found = rows::read_all(&transaction, &frontend.keys, cells, LOAD_BYTES_MAX).await?;
    let rows = found.into_iter().map(|found| found.row).collect();
    Ok(Loaded { now_ms: frontend.clock.now_ms(), rows })
}

#[async_trait::async_trait]
impl Backend for FoundationDbStore {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let (done, outcome) = oneshot::channel();
        let lane = batch.first().map_or(0, |entry| lane_of(entry.request.account().as_str(), LANES));
        let sent = self.refuse_unless_open().and_then(|()| {
            let closed = || BackendError::Unavailable("the store is closed".into());
            let lanes = self.0.lanes.lock();
            lanes.get(lane).and_then(|jobs| jobs.send(Job { batch, done }).ok()).ok_or_else(closed)
        });
        async move {
            sent?;
            let ended = |_| Err(BackendError::OutcomeUnknown("the committing task ended".into()));
            outcome.await.unwrap_or_else(ended)
        }
        .boxed()
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.refuse_unless_open()?;
        read(|| load(&self.0.frontend, cells)).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.refuse_unless_open()?;
        self.0.watches.changed(&self.0.frontend, cell, seen).await
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.refuse_unless_open()?;
        read(|| pages::scan(&self.0.frontend, query)).await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.refuse_unless_open()?;
        read(|| pages::accounts(&self.0.frontend, after, limit)).await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.refuse_unless_open()?;
        snapshots::begin(&self.0.frontend, account).await
    }

    async fn stored_bytes(&self, account: &Account) -> Result<u64> {
        self.refuse_unless_open()?;
        read(|| pages::stored_bytes(&self.0.frontend, account)).await
    }

    /// Sweeps only where this frontend is the one elected to.
    async fn sweep(&self, limit: usize) -> Result<usize> {
        if !self.0.findings.is_sweeper() {
            return Ok(0);
        }
        let mut swept = 0;
        // Some notes are of cells that were written anew: they make room for others.
        for _ in 0..SWEEP_ROUNDS_MAX {
            let frontend = &self.0.frontend;
            let now_ms = frontend.clock.now_ms();
            let notes = read(|| sweeping::due(frontend, now_ms, limit)).await?;
            if notes.is_empty() {
                break;
            }
            let is_last = notes.len() < limit;
            let due = notes.iter().filter(|note| note.is_due).map(|note| note.cell.clone());
            mark_accounts(self, &due.collect::<Vec<_>>()).await?;
            let deleting = timeout(READ_TIME_MAX, sweeping::delete_due(frontend, notes, now_ms));
            let deleted = deleting.await.unwrap_or_else(|_| Err(too_long()))?;
            frontend.wakeups.wake(&deleted);
            swept += deleted.len();
            if is_last || swept >= limit {
                break;
            }
        }
        Ok(swept)
    }

    async fn health(&self) -> Result<Health> {
        self.refuse_unless_open()?;
        let frontend = &self.0.frontend;
        let asking = async { Ok(frontend.begin()?.get_read_version().await?) };
        timeout(HEALTH_TIME_MAX, asking).await.unwrap_or_else(|_| Err(too_long()))?;
        Ok(Health { now_ms: frontend.clock.now_ms() })
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn is_shared(&self) -> bool {
        self.0.findings.has_peers()
    }

    async fn close(&self) {
        drop(std::mem::take(&mut *self.0.lanes.lock()));
        let mut committing = std::mem::take(&mut *self.0.committing.lock());
        if committing.is_empty() {
            return; // It is being closed already.
        }
        while let Some(ended) = committing.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a committing task failed");
            }
        }
        self.0.beside.abort();
        let leaving = housekeeping::leave(&self.0.frontend, self.0.findings.is_sweeper());
        if !matches!(timeout(HEALTH_TIME_MAX, leaving).await, Ok(Ok(()))) {
            tracing::debug!("what this frontend wrote of itself stays behind");
        }
    }
}
