//! Who waits for which lock, first come, first served. Only the first of a queue tries to take the
//! lock; the others rest until they are first, until their time is over, or until their client goes.
//!
//! Lock order: the one mutex here is a leaf. Nothing is called while it is held.

use crate::metrics::WaiterMetrics;
use dragon_core::UnixMs;
use dragon_core::batch::Entry;
use dragon_core::cell::Cell;
use dragon_core::decide::Turn;
use dragon_core::request::Request;
use dragon_core::verdict::Blocked;
use dragon_lanes::{Handoff, Reply, Submission};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// A look at a lock that was held, and when it was taken, by both clocks.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// What was seen.
    pub(crate) blocked: Blocked,
    /// The store's time then.
    pub(crate) now_ms: UnixMs,
    /// This process's time then.
    pub(crate) at: Instant,
}

impl Sight {
    pub(crate) fn new(blocked: Blocked, now_ms: UnixMs) -> Self {
        Self { blocked, now_ms, at: Instant::now() }
    }

    /// No look yet: whoever is first tries at once.
    pub(crate) fn of_nothing(lock: &Cell) -> Self {
        let blocked = Blocked { cell: lock.clone(), stamp: 0, till_ms: 0, owner: bytes::Bytes::new() };
        Self::new(blocked, 0)
    }

    /// When the lease that was seen will have ended. The millisecond more makes up for rounding.
    pub(crate) fn lease_end(&self) -> Instant {
        let left_ms = self.blocked.till_ms.saturating_sub(self.now_ms);
        self.at + std::time::Duration::from_millis(left_ms + u64::from(left_ms > 0))
    }
}

/// What is under way for a waiter.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Nothing: it rests.
    None,
    /// It tries by itself, and waits for the outcome.
    Own,
    /// A lane took its request behind the release of the lock; the outcome comes here.
    Pulled(Option<oneshot::Receiver<Reply>>),
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) request: Arc<Request>,
    pub(crate) attempt: Attempt,
    pub(crate) stirred: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiters: BTreeMap<u64, Waiter>,
    /// The grant to the waiter that left last, so that the next one need not try in order to see it.
    pub(crate) granted: Option<Sight>,
}

impl Queue {
    pub(crate) fn is_first(&self, number: u64) -> bool {
        self.waiters.first_key_value().is_some_and(|(first, _)| *first == number)
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    next_number: u64,
    pub(crate) queues: HashMap<Cell, Queue>,
}

/// All lock queues of one frontend.
#[derive(Debug, Default)]
pub(crate) struct LockQueues {
    pub(crate) state: Mutex<State>,
    pub(crate) metrics: WaiterMetrics,
}

impl LockQueues {
    pub(crate) fn new(metrics: WaiterMetrics) -> Self {
        Self { state: Mutex::default(), metrics }
    }

    /// Enters a request at the end of its lock's queue, with its first attempt under way. Returns its
    /// number, and whether it is first.
    pub(crate) fn enter(&self, lock: &Cell, request: &Arc<Request>, stirred: &Arc<Notify>) -> (u64, Turn) {
        let mut state = self.state.lock();
        state.next_number += 1;
        let number = state.next_number;
        let queue = state.queues.entry(lock.clone()).or_insert_with(|| {
            self.metrics.lock_queues.inc();
            Queue::default()
        });
        let turn = if queue.waiters.is_empty() { Turn::First } else { Turn::Queued };
        let (request, stirred) = (Arc::clone(request), Arc::clone(stirred));
        queue.waiters.insert(number, Waiter { request, attempt: Attempt::Own, stirred });
        self.metrics.lock_waiters.inc();
        (number, turn)
    }

    /// Takes a request out and stirs the next one, which is told what was granted, if anything was.
    pub(crate) fn leave(&self, lock: &Cell, number: u64, granted: Option<Sight>) {
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get_mut(lock) else { return };
        let was_first = queue.is_first(number);
        if queue.waiters.remove(&number).is_some() {
            self.metrics.lock_waiters.dec();
        }
        if let Some((_, next)) = queue.waiters.first_key_value() {
            if was_first {
                next.stirred.notify_one();
                queue.granted = granted;
            }
        } else {
            state.queues.remove(lock);
            self.metrics.lock_queues.dec();
        }
    }

    /// How many wait for a lock.
    pub(crate) fn waiting(&self, lock: &Cell) -> usize {
        self.state.lock().queues.get(lock).map_or(0, |queue| queue.waiters.len())
    }
}

impl Handoff for LockQueues {
    fn next_waiter(&self, lock: &Cell) -> Option<Submission> {
        let mut state = self.state.lock();
        let (_, first) = state.queues.get_mut(lock)?.waiters.iter_mut().next()?;
        if !matches!(first.attempt, Attempt::None) {
            return None; // It is trying already; its outcome makes it look again.
        }
        let (reply, outcome) = oneshot::channel();
        first.attempt = Attempt::Pulled(Some(outcome));
        first.stirred.notify_one();
        Some(Submission { entry: Entry { request: Arc::clone(&first.request), turn: Turn::First }, reply })
    }
}
