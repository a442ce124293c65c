//! Group commit over any [`Backend`]: a lane takes every request that waits at that moment, commits
//! them as one batch, answers, and takes the next. There is no timer: while one batch is being made
//! durable the next one gathers.

mod delivery;
mod lane;
mod metrics;

pub use delivery::{Delivery, Outcome};
pub use metrics::LaneMetrics;

use dragon_contract::{Backend, BackendError, Result, RowsRead, lane_of};
use dragon_core::batch::Entry;
use dragon_core::cell::Cell;
use dragon_core::decide::{Turn, decide};
use dragon_core::request::Request;
use dragon_core::verdict::{Rejection, Verdict};
use lane::Lane;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a submitted request comes back as.
pub type Reply = Result<Delivery>;

/// A request on its way into a batch.
#[derive(Debug)]
pub struct Submission {
    /// The request.
    pub entry: Entry,
    /// Where its outcome goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Who knows which request waits for a lock. When a batch holds the release of a lock, the next
/// waiter's request is put behind it, so that release and grant share one sync.
pub trait Handoff: Send + Sync + 'static {
    /// The request that is first in the queue for that lock, unless it is being tried already, or the
    /// lock is to be left free for other frontends.
    fn next_waiter(&self, lock: &Cell) -> Option<Submission>;
}

/// The lanes of one frontend. Clones share them.
#[derive(Clone)]
pub struct Lanes {
    lanes: Arc<LaneSet>,
    backend: Arc<dyn Backend>,
}

/// The lanes, which end when nobody can push any more.
struct LaneSet(Vec<Arc<Lane>>);

impl Drop for LaneSet {
    fn drop(&mut self) {
        self.0.iter().for_each(|lane| lane.end());
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lanes").field("lanes", &self.lanes.0.len()).finish_non_exhaustive()
    }
}

impl Lanes {
    /// Starts the lanes' tasks on the current runtime. They end when the last clone is dropped.
    #[must_use]
    pub fn start(backend: Arc<dyn Backend>, handoff: Arc<dyn Handoff>, metrics: LaneMetrics) -> Self {
        let lanes = (0..backend.lanes().max(1)).map(|number| {
            let lane = Arc::new(Lane::new(metrics.clone()));
            tokio::spawn(lane::run(Arc::clone(&lane), number, Arc::clone(&backend), Arc::clone(&handoff)));
            lane
        });
        Self { lanes: Arc::new(LaneSet(lanes.collect())), backend }
    }

    /// Queues a request; the outcome comes through the receiver. A receiver that is dropped before it
    /// took an outcome that holds a lock has the lock released (see [`Delivery`]).
    ///
    /// # Errors
    /// [`BackendError::Busy`] at once when the queue is full.
    pub fn submit(&self, request: Arc<Request>, turn: Turn) -> Result<oneshot::Receiver<Reply>> {
        let (reply, receiver) = oneshot::channel();
        let lane = self.lane_of(&request);
        lane.push(Submission { entry: Entry { request, turn }, reply })?;
        Ok(receiver)
    }

    /// Queues a request and waits for its outcome.
    ///
    /// # Errors
    /// The store's; [`BackendError::Busy`] when the queue is full.
    pub async fn commit(&self, request: Arc<Request>, turn: Turn) -> Reply {
        received(self.submit(request, turn)?).await
    }

    /// Decides a request that only reads on the last durable state, without waiting for a sync; falls
    /// back to a commit when what it saw has to be marked first.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, request: Arc<Request>) -> Reply {
        debug_assert!(request.is_read());
        let cells: Vec<Cell> = request.reads().cloned().collect();
        let loaded = self.backend.load(&cells).await?;
        if !loaded.is_whole(cells.len()) {
            let bytes_max = request.answer_bytes_max();
            let verdict = Verdict::Rejected(Rejection::AnswerTooLarge { bytes_max });
            let outcome = Outcome { now_ms: loaded.now_ms, verdict };
            return Ok(Delivery::new(outcome, request, std::sync::Weak::new()));
        }
        let mut rows = RowsRead(cells.into_iter().zip(loaded.rows).collect());
        let decision = decide(&request, Turn::First, &mut rows, loaded.now_ms).map_err(BackendError::from)?;
        if decision.writes.is_empty() {
            let outcome = Outcome { now_ms: loaded.now_ms, verdict: decision.verdict };
            Ok(Delivery::new(outcome, request, std::sync::Weak::new()))
        } else {
            self.commit(request, Turn::First).await
        }
    }

    fn lane_of(&self, request: &Request) -> &Arc<Lane> {
        &self.lanes.0[lane_of(request.account().as_str(), self.lanes.0.len())]
    }
}

/// Waits for the outcome of a submission.
///
/// # Errors
/// The store's; [`BackendError::Unavailable`] when the lane has ended.
pub async fn received(receiver: oneshot::Receiver<Reply>) -> Reply {
    let stopped = |_| Err(BackendError::Unavailable("the server is stopping".into()));
    receiver.await.unwrap_or_else(stopped)
}
