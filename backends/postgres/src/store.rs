//! The [`Backend`]: hands batches to the lanes in the order of the calls, reads beside them, and keeps the
//! tasks of one store.

use crate::address::Address;
use crate::committer::{Committer, Frontend, Job, LaneJobs, too_long};
use crate::failure::{ConnectError, Failure};
use crate::housekeeping::{self, Findings};
use crate::metrics::PostgresMetrics;
use crate::notifier::Notifier;
use crate::opening;
use crate::pages;
use crate::reader::{Looks, READ_TIME_MAX};
use crate::rows::{Lane, STAMP_BYTES, StoreClock, lane};
use crate::schema::LANES;
use crate::session::{Sessions, StoreOptions};
use crate::snapshot::Snapshots;
use crate::sweeping;
use dragon_contract::{
    AccountsPage, Backend, BackendError, CommitFuture, Health, Loaded, Result, Snapshot, lane_of,
    mark_accounts,
};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, all_of};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use sqlx::PgPool;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Longest wait for the database to say that it is well: less than a probe waits.
const HEALTH_TIME_MAX: Duration = Duration::from_millis(900);

/// One frontend's hold on a store. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

/// How far opening has come: `None` = not yet.
type Opened = Option<std::result::Result<(), Arc<ConnectError>>>;

struct Shared {
    frontend: Frontend,
    findings: Findings,
    pool: PgPool,
    looks: Looks,
    snapshots: Snapshots,
    /// Where each lane takes its batches from. Empty once the store is closed.
    lanes: Mutex<Vec<LaneJobs>>,
    committing: Mutex<JoinSet<()>>,
    opened: watch::Receiver<Opened>,
    /// Tasks that run as long as the store.
    beside: Vec<JoinHandle<()>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresStore").field("frontend", &self.0.frontend.id).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Begins to open the store, making its schema if need be; many frontends may do so at once. Until it
    /// is [opened](Self::opened) it is unavailable. Call it in a runtime.
    #[must_use]
    pub fn open(options: &StoreOptions, metrics: PostgresMetrics) -> Self {
        let (notifier, changes) = Notifier::new();
        let frontend = Frontend {
            sessions: Sessions::new(options),
            clock: StoreClock::default(),
            watches: Arc::default(),
            notifier,
            metrics,
            id: uuid::Uuid::new_v4().to_string().into(),
        };
        let (findings, looks) = (Findings::default(), Looks::default());
        let pool = frontend.sessions.pool();
        let (mut lanes, mut committing) = (Vec::with_capacity(LANES), JoinSet::new());
        for lane in Lane::ALL {
            lanes.push(Committer::start(frontend.clone(), lane, &mut committing));
        }
        let mut beside = vec![tokio::spawn(changes.tell_all(pool.clone(), frontend.sessions.channel()))];
        for _ in 0..frontend.sessions.readers() {
            let reader = looks.clone().serve(frontend.sessions.clone(), frontend.clock.clone());
            beside.push(tokio::spawn(reader));
        }
        let (tell, opened) = watch::channel(None);
        beside.push(tokio::spawn(open_and_stay(frontend.clone(), findings.clone(), tell)));
        let (lanes, committing) = (Mutex::new(lanes), Mutex::new(committing));
        Self(Arc::new(Shared {
            frontend,
            findings,
            pool,
            looks,
            snapshots: Snapshots::default(),
            lanes,
            committing,
            opened,
            beside,
        }))
    }

    /// Opens the store at this address, as by default, and waits until it is open.
    ///
    /// # Errors
    /// As [`opened`](Self::opened).
    pub async fn connect(address: &Address) -> std::result::Result<Self, Arc<ConnectError>> {
        let store = Self::open(&StoreOptions::new(address.clone()), PostgresMetrics::default());
        store.opened().await.map(|()| store)
    }

    /// Waits until the store is open, however long the database is away.
    ///
    /// # Errors
    /// [`ConnectError`], in words for the operator, when waiting won't help.
    pub async fn opened(&self) -> std::result::Result<(), Arc<ConnectError>> {
        let mut opened = self.0.opened.clone();
        match opened.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone().unwrap_or(Ok(())),
            Err(_) => Err(Arc::new(ConnectError::Schema("opening it was given up".into()))),
        }
    }

    fn refuse_unless_open(&self) -> Result<()> {
        let unavailable = |reason: String| Err(BackendError::Unavailable(reason));
        match &*self.0.opened.borrow() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => unavailable(error.to_string()),
            None => unavailable("the database has not been reached yet".into()),
        }
    }
}

/// Opens the store and tells how that went, then lives as long as what was started.
async fn open_and_stay(frontend: Frontend, findings: Findings, opened: watch::Sender<Opened>) {
    match opening::open(frontend, findings).await {
        Ok(mut tasks) => {
            opened.send_replace(Some(Ok(())));
            while tasks.join_next().await.is_some() {}
        }
        Err(error) => drop(opened.send_replace(Some(Err(Arc::new(error))))),
    }
}

impl Shared {
    /// Gives a lane something to do; `None` when the store is closed.
    fn send(&self, lane: usize, job: Job) -> Option<()> {
        self.lanes.lock().get(lane)?.jobs.send(job).ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.beside.iter().for_each(JoinHandle::abort);
    }
}

/// A read that takes too long is given up.
pub(crate) async fn in_time<T>(reading: impl Future<Output = std::result::Result<T, Failure>>) -> Result<T> {
    Ok(timeout(READ_TIME_MAX, reading).await.unwrap_or_else(|_| Err(too_long()))?)
}

/// Gives back a turn that nobody waits for any more.
struct PassOnDrop<'a> {
    store: &'a PostgresStore,
    lane: usize,
}

impl Drop for PassOnDrop<'_> {
    fn drop(&mut self) {
        self.store.pass(self.lane);
    }
}

#[async_trait::async_trait]
impl Backend for PostgresStore {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        let (done, outcome) = oneshot::channel();
        let lane = batch.first().map_or(0, |entry| lane_of(entry.request.account().as_str(), LANES));
        let sent = self.refuse_unless_open().and_then(|()| {
            let closed = || BackendError::Unavailable("the store is closed".into());
            self.0.send(lane, Job::Commit { batch, done }).ok_or_else(closed)
        });
        async move {
            sent?;
            let ended = |_| Err(BackendError::OutcomeUnknown("the committing task ended".into()));
            outcome.await.unwrap_or_else(ended)
        }
        .boxed()
    }

    async fn turn(&self, lane: usize) {
        let is_contended = |lane: &LaneJobs| lane.is_contended.load(Ordering::Relaxed);
        if self.0.lanes.lock().get(lane).is_some_and(is_contended) && self.refuse_unless_open().is_ok() {
            let (done, is_ours) = oneshot::channel();
            self.0.send(lane, Job::Turn { done });
            let given_up = PassOnDrop { store: self, lane };
            // Whatever hinders it, the commit will tell.
            drop(is_ours.await);
            std::mem::forget(given_up);
        }
    }

    fn pass(&self, lane: usize) {
        self.0.send(lane, Job::Pass);
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.refuse_unless_open()?;
        self.0.looks.read(cells.to_vec(), None).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.refuse_unless_open()?;
        let watches = &self.0.frontend.watches;
        let registration = watches.wakeups.register(cell);
        let _noted = watches.note(cell, seen);
        let loaded = self.0.looks.read(vec![cell.clone()], Some(STAMP_BYTES)).await?;
        let row = loaded.rows.into_iter().next().flatten();
        if layout::stamp(cell, row.as_ref())? == seen {
            registration.woken().await;
        }
        Ok(())
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.refuse_unless_open()?;
        in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            pages::scan(&mut connection, query, &self.0.frontend.clock).await
        })
        .await
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.refuse_unless_open()?;
        in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            pages::accounts(&mut connection, after, limit).await
        })
        .await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.refuse_unless_open()?;
        Ok(Box::new(self.0.snapshots.begin(&self.0.frontend.sessions, account).await?))
    }

    async fn stored_bytes(&self, account: &Account) -> Result<u64> {
        self.refuse_unless_open()?;
        let (lane, mut names, mut bytes) = (lane(&Cell::meta(account)), all_of(account), 0);
        while names.start < names.end {
            bytes += in_time(async {
                let mut connection = self.0.pool.acquire().await?;
                pages::next_stored_bytes(&mut connection, lane, &mut names).await
            })
            .await?;
        }
        Ok(bytes)
    }

    /// Sweeps only where this frontend is the one elected to.
    async fn sweep(&self, limit: usize) -> Result<usize> {
        if !self.0.findings.is_sweeper() {
            return Ok(0);
        }
        let (due, at_ms) = in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            sweeping::due(&mut connection, limit).await
        })
        .await?;
        if due.is_empty() {
            return Ok(0);
        }
        mark_accounts(self, &due).await?;
        let deleted = in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            sweeping::delete(&mut connection, &due, at_ms).await
        })
        .await?;
        self.0.frontend.tell_changed(&deleted);
        Ok(deleted.len())
    }

    async fn health(&self) -> Result<Health> {
        const ASK: &str = "SELECT current_setting('transaction_read_only')::bool, \
            floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        self.refuse_unless_open()?;
        let asking = async {
            let mut connection = self.0.pool.acquire().await.map_err(Failure::from)?;
            let asked = sqlx::query_as(ASK).fetch_one(&mut *connection).await;
            let (takes_no_writes, database_ms): (bool, i64) = asked.map_err(Failure::from)?;
            if takes_no_writes {
                return Err(Failure::Unavailable("the database takes no writes".into()));
            }
            Ok(Health { now_ms: self.0.frontend.clock.read(database_ms) })
        };
        Ok(timeout(HEALTH_TIME_MAX, asking).await.unwrap_or_else(|_| Err(too_long()))?)
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn is_shared(&self) -> bool {
        self.0.findings.has_peers()
    }

    // The last changes may stay untold: other frontends find them by their regular look.
    async fn close(&self) {
        drop(std::mem::take(&mut *self.0.lanes.lock()));
        let mut committing = std::mem::take(&mut *self.0.committing.lock());
        while let Some(ended) = committing.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a committing task failed");
            }
        }
        self.0.beside.iter().for_each(JoinHandle::abort);
        let leaving = timeout(HEALTH_TIME_MAX, housekeeping::leave(&self.0.frontend));
        if !matches!(leaving.await, Ok(Ok(()))) {
            tracing::debug!("the row of this frontend stays behind");
        }
        // A connection that died unnoticed does not say goodbye.
        drop(timeout(HEALTH_TIME_MAX, self.0.pool.close()).await);
    }
}
