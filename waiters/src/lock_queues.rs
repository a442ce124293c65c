//! Who waits for which lock, first come, first served. Only the first of a queue tries to take the
//! lock; the others rest until they are first, until their time is over, or until their client goes.
//!
//! Lock order: the one mutex here is a leaf. Nothing is called while it is held.
//!
//! On a store that other frontends share, a queue may be kept while nobody is in it: see [`Streak`].

use crate::metrics::WaiterMetrics;
use crate::streak::Streak;
use dragon_contract::Backend;
use dragon_core::UnixMs;
use dragon_core::batch::Entry;
use dragon_core::cell::Cell;
use dragon_core::decide::Turn;
use dragon_core::request::{Request, Wanted};
use dragon_core::verdict::Blocked;
use dragon_lanes::{Handoff, Reply, Submission};
use parking_lot::{Mutex, MutexGuard};
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
        let owner = bytes::Bytes::new();
        let blocked = Blocked { cell: lock.clone(), stamp: 0, till_ms: 0, handle: 0, owner };
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
    /// Present only while the store is shared.
    pub(crate) streak: Option<Streak>,
}

impl Queue {
    pub(crate) fn is_first(&self, number: u64) -> bool {
        self.waiters.first_key_value().is_some_and(|(first, _)| *first == number)
    }

    /// Whether even the first may not take the lock now.
    fn yields(&self) -> bool {
        self.streak.as_ref().is_some_and(Streak::yields)
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    next_number: u64,
    queues: HashMap<Cell, Queue>,
    /// At how many queues the kept ones are looked through. It doubles, so that a look costs little.
    tidy_at: usize,
}

impl State {
    pub(crate) fn queue(&mut self, lock: &Cell) -> Option<&mut Queue> {
        self.queues.get_mut(lock)
    }

    /// Drops what is kept for locks that nobody here took again.
    fn tidy(&mut self) {
        if self.queues.len() < self.tidy_at {
            return;
        }
        let goes_on = |queue: &Queue| queue.streak.as_ref().is_some_and(|streak| !streak.has_lapsed());
        self.queues.retain(|_, queue| !queue.waiters.is_empty() || goes_on(queue));
        self.tidy_at = 64 + 2 * self.queues.len();
    }
}

/// All lock queues of one frontend.
pub(crate) struct LockQueues {
    state: Mutex<State>,
    backend: Arc<dyn Backend>,
    metrics: WaiterMetrics,
}

impl LockQueues {
    pub(crate) fn new(backend: Arc<dyn Backend>, metrics: WaiterMetrics) -> Self {
        Self { state: Mutex::default(), backend, metrics }
    }

    /// The queues. Where the store is not shared, no streak is left of a time when it was.
    pub(crate) fn lock_state(&self, lock: &Cell) -> MutexGuard<'_, State> {
        let is_shared = self.backend.is_shared();
        let mut state = self.state.lock();
        if !is_shared && let Some(queue) = state.queue(lock) {
            queue.streak = None;
        }
        state
    }

    /// Enters a request at the end of its lock's queue, with its first attempt under way. Returns its
    /// number, and whether it may take the lock: it is first, and the lock is not to be left to other
    /// frontends. One that does not wait takes its only chance all the same.
    pub(crate) fn enter(
        &self,
        wanted: &Wanted,
        request: &Arc<Request>,
        stirred: &Arc<Notify>,
    ) -> (u64, Turn) {
        let mut state = self.lock_state(&wanted.cell);
        state.next_number += 1;
        let number = state.next_number;
        let queue = state.queues.entry(wanted.cell.clone()).or_default();
        let mut turn = Turn::Queued;
        if queue.waiters.is_empty() {
            self.metrics.lock_queues.inc();
            queue.streak.take_if(|streak| streak.has_lapsed());
            if wanted.wait_s == 0 || !queue.yields() {
                turn = Turn::First;
            }
        }
        let (request, stirred) = (Arc::clone(request), Arc::clone(stirred));
        queue.waiters.insert(number, Waiter { request, attempt: Attempt::Own, stirred });
        self.metrics.lock_waiters.inc();
        (number, turn)
    }

    /// Takes a request out and stirs the next one, which is told what was granted, if anything was.
    pub(crate) fn leave(&self, lock: &Cell, number: u64, granted: Option<Sight>, waited: bool) {
        let is_shared = self.backend.is_shared();
        let mut state = self.state.lock();
        let Some(queue) = state.queue(lock) else { return };
        let was_first = queue.is_first(number);
        if queue.waiters.remove(&number).is_some() {
            self.metrics.lock_waiters.dec();
        }
        if was_first {
            queue.streak.take_if(|_| !is_shared);
            if let Some(granted) = granted.as_ref().filter(|_| is_shared) {
                queue.streak = Streak::after_grant(queue.streak.take(), granted, waited);
            }
            queue.granted = granted;
        }
        if let Some((_, next)) = queue.waiters.first_key_value() {
            if was_first {
                next.stirred.notify_one();
            }
            return;
        }
        self.metrics.lock_queues.dec();
        if queue.streak.is_none() {
            state.queues.remove(lock);
        } else {
            state.tidy();
        }
    }

    /// Notes what a request saw of its lock. Only the first's look counts: all grants here before it
    /// became first are noted, so a later one was made elsewhere.
    pub(crate) fn note(&self, blocked: &Blocked, number: u64) {
        if !self.backend.is_shared() {
            return;
        }
        let mut state = self.state.lock();
        if let Some(queue) = state.queue(&blocked.cell).filter(|queue| queue.is_first(number)) {
            queue.streak.take_if(|streak| streak.note_holder(blocked.handle));
        }
    }

    /// Whether an attempt that a request makes now may take the lock. One that `is_last` does not leave
    /// it to other frontends.
    pub(crate) fn turn(&self, lock: &Cell, number: u64, is_last: bool) -> Turn {
        let mut state = self.lock_state(lock);
        let may_take = |queue: &Queue| queue.is_first(number) && (is_last || !queue.yields());
        if state.queue(lock).is_some_and(|queue| may_take(queue)) { Turn::First } else { Turn::Queued }
    }

    /// How many wait for a lock.
    pub(crate) fn waiting(&self, lock: &Cell) -> usize {
        self.state.lock().queues.get(lock).map_or(0, |queue| queue.waiters.len())
    }
}

impl Handoff for LockQueues {
    fn next_waiter(&self, lock: &Cell) -> Option<Submission> {
        let mut state = self.lock_state(lock);
        let queue = state.queue(lock)?;
        if let Some(streak) = &mut queue.streak {
            streak.note_release();
            if streak.yields() {
                return None; // The first waits for the lock's change, and sees it free.
            }
        }
        let (_, first) = queue.waiters.iter_mut().next()?;
        if !matches!(first.attempt, Attempt::None) {
            return None; // It is trying already; its outcome makes it look again.
        }
        let (reply, outcome) = oneshot::channel();
        first.attempt = Attempt::Pulled(Some(outcome));
        first.stirred.notify_one();
        Some(Submission { entry: Entry { request: Arc::clone(&first.request), turn: Turn::First }, reply })
    }
}
