//! One lane: a bounded queue and the task that empties it, batch by batch.

use crate::delivery::{Delivery, Outcome};
use crate::metrics::LaneMetrics;
use crate::{Handoff, Submission};
use dragon_contract::{Backend, BackendError, CommitFuture, Result};
use dragon_core::batch::Entry;
use dragon_core::decide::Turn;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Requests that may wait for the next batch. A burst of the largest crowd (10,000 waiters) fits.
const QUEUED_REQUESTS_MAX: usize = 50_000;
/// Bytes of requests that may wait for the next batch.
const QUEUED_BYTES_MAX: usize = 256 << 20;
/// Requests in one batch.
const BATCH_REQUESTS_MAX: usize = 1_000;
/// Bytes of requests in one batch, unless a single one is larger.
const BATCH_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Lane {
    queue: Mutex<Queue>,
    arrived: Notify,
    metrics: LaneMetrics,
}

#[derive(Debug, Default)]
struct Queue {
    submissions: VecDeque<Submission>,
    bytes: usize,
    /// The task has ended: nobody would take what is pushed.
    ended: bool,
}

impl Queue {
    fn push(&mut self, submission: Submission) {
        self.bytes += submission.entry.request.weight_bytes();
        self.submissions.push_back(submission);
    }

    /// Puts back, in its order, what came before all that waits.
    fn put_back(&mut self, submissions: Vec<Submission>) {
        for submission in submissions.into_iter().rev() {
            self.bytes += submission.entry.request.weight_bytes();
            self.submissions.push_front(submission);
        }
    }

    fn pop(&mut self) -> Option<Submission> {
        let submission = self.submissions.pop_front()?;
        self.bytes -= submission.entry.request.weight_bytes();
        Some(submission)
    }
}

impl Lane {
    pub(crate) fn new(metrics: LaneMetrics) -> Self {
        Self { queue: Mutex::default(), arrived: Notify::new(), metrics }
    }

    pub(crate) fn push(&self, submission: Submission) -> Result<()> {
        let mut queue = self.queue.lock();
        if queue.submissions.len() >= QUEUED_REQUESTS_MAX || queue.bytes >= QUEUED_BYTES_MAX {
            return Err(BackendError::Busy("the queue of requests is full".into()));
        }
        self.push_locked(&mut queue, submission)
    }

    /// Pushes the server's own work, whatever waits already.
    pub(crate) fn push_always(&self, submission: Submission) -> Result<()> {
        self.push_locked(&mut self.queue.lock(), submission)
    }

    fn push_locked(&self, queue: &mut Queue, submission: Submission) -> Result<()> {
        if queue.ended {
            return Err(BackendError::Unavailable("the server is stopping".into()));
        }
        queue.push(submission);
        self.metrics.queued_requests.inc();
        self.arrived.notify_one();
        Ok(())
    }

    /// The next batch; empty when nothing waits. Behind each release comes the next waiter of that
    /// lock, so a batch may grow a little past its bounds.
    fn take_batch(&self, handoff: &dyn Handoff) -> Vec<Submission> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
            // The lock on the queue is not held while `handoff` is asked: it has a lock of its own.
            let Some(submission) = self.queue.lock().pop() else { break };
            self.metrics.queued_requests.dec();
            if submission.entry.request.wanted().is_some() && submission.reply.is_closed() {
                continue; // The client hung up: it never gets the lock.
            }
            let mut next = Some(submission);
            while let Some(submission) = next {
                bytes += submission.entry.request.weight_bytes();
                let released = submission.entry.request.released().map(|held| held.cell.clone());
                let may_release = submission.entry.turn == Turn::First;
                batch.push(submission);
                next = released.filter(|_| may_release).and_then(|lock| handoff.next_waiter(&lock));
            }
        }
        batch
    }

    /// Puts back what the store did not take of a batch.
    fn put_back(&self, submissions: Vec<Submission>) {
        if !submissions.is_empty() {
            self.metrics.queued_requests.inc_by(submissions.len() as i64);
            self.queue.lock().put_back(submissions);
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().submissions.is_empty()
    }

    /// Ends the lane once its queue is empty: nobody is left who could push.
    pub(crate) fn end(&self) {
        self.queue.lock().ended = true;
        self.arrived.notify_one();
    }

    fn has_ended(&self) -> bool {
        self.queue.lock().ended
    }
}

/// Runs a lane until it is ended.
pub(crate) async fn run(
    lane: Arc<Lane>,
    number: usize,
    backend: Arc<dyn Backend>,
    handoff: Arc<dyn Handoff>,
) {
    let depth = backend.pipeline_depth().max(1);
    let mut in_flight = FuturesOrdered::new();
    // The lane's turn, while it is waited for.
    let mut turn = None;
    loop {
        if turn.is_none() && in_flight.len() < depth && !lane.is_empty() {
            turn = Some(backend.turn(number));
        }
        if in_flight.is_empty() && turn.is_none() && lane.has_ended() {
            return;
        }
        let has_room = turn.is_none() && in_flight.len() < depth;
        tokio::select! {
            // Answers first: each batch is answered once, so they can't keep new requests away.
            biased;
            Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
            () = async { turn.as_mut().expect("checked").await }, if turn.is_some() => {
                turn = None;
                let batch = lane.take_batch(handoff.as_ref());
                if batch.is_empty() {
                    backend.pass(number);
                } else {
                    in_flight.push_back(commit(&lane, batch, backend.as_ref()));
                }
            }
            // A lane with room for a batch waits for requests; a full one only for its batches.
            () = lane.arrived.notified(), if has_room => {}
        }
    }
}

/// Hands a batch to the store (at once: batches apply in this order) and answers it when it is done.
fn commit(
    lane: &Arc<Lane>,
    batch: Vec<Submission>,
    backend: &dyn Backend,
) -> impl Future<Output = ()> + use<> {
    let entries: Vec<Entry> = batch.iter().map(|submission| submission.entry.clone()).collect();
    lane.metrics.batch_requests.observe(entries.len() as f64);
    let begun = Instant::now();
    let committed = backend.commit(entries.into());
    answer(committed, begun, batch, Arc::clone(lane))
}

async fn answer(committed: CommitFuture, begun: Instant, mut batch: Vec<Submission>, lane: Arc<Lane>) {
    let outcome = committed.await;
    lane.metrics.commit_seconds.observe(begun.elapsed().as_secs_f64());
    match outcome {
        Ok(outcome) => {
            debug_assert!((1..=batch.len()).contains(&outcome.verdicts.len()));
            let not_taken = batch.split_off(outcome.verdicts.len().clamp(1, batch.len()));
            lane.put_back(not_taken);
            for (submission, verdict) in batch.into_iter().zip(outcome.verdicts) {
                let outcome = Outcome { now_ms: outcome.now_ms, verdict };
                let delivery = Delivery::new(outcome, submission.entry.request, Arc::downgrade(&lane));
                // One that nobody takes comes back here and is dropped, which releases its lock.
                drop(submission.reply.send(Ok(delivery)));
            }
        }
        Err(error) => {
            lane.metrics.commit_errors.inc();
            tracing::warn!(%error, requests = batch.len(), "the store failed a batch");
            for submission in batch {
                drop(submission.reply.send(Err(error.clone())));
            }
        }
    }
}
