//! One request's place in a lock queue, from arrival to the answer. Dropping it (the client hung up)
//! leaves the queue; an attempt that is under way then is not cut, and what it takes is given back.

use crate::frontend::Failure;
use crate::lock_queues::{Attempt, LockQueues, Sight};
use crate::streak::Streak;
use dragon_contract::Backend;
use dragon_core::cell::Cell;
use dragon_core::decide::Turn;
use dragon_core::request::{Request, Wanted};
use dragon_core::verdict::{Blocked, Rejection, Verdict};
use dragon_lanes::{Delivery, Lanes, Reply, received};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What a place needs of the frontend.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) queues: &'a Arc<LockQueues>,
    pub(crate) lanes: &'a Lanes,
    pub(crate) backend: &'a Arc<dyn Backend>,
    pub(crate) drain: &'a CancellationToken,
}

struct Place<'a> {
    around: Surroundings<'a>,
    request: Arc<Request>,
    lock: Cell,
    number: u64,
    stirred: Arc<Notify>,
    granted: Option<Sight>,
    waited: bool,
}

/// Where a resting waiter stands.
enum Rank {
    /// It tries when the lock may be free.
    First,
    /// It is first, but the lock is left to other frontends until then.
    FirstAfter(Instant),
    /// Others come before it.
    Behind,
}

/// Why a resting waiter moves.
enum Event {
    /// A lane took its request along.
    Pulled(oneshot::Receiver<Reply>),
    /// It is first and the lock may be free.
    Try,
    /// Its time is over.
    Deadline,
    /// The server is going down.
    Drain,
}

/// Takes a lock for a request, waiting for it as long as the request says.
pub(crate) async fn acquire(
    around: Surroundings<'_>,
    request: Arc<Request>,
    wanted: &Wanted,
) -> Result<Delivery, Failure> {
    let deadline = Instant::now() + Duration::from_secs(wanted.wait_s);
    let stirred = Arc::new(Notify::new());
    let (number, mut turn) = around.queues.enter(wanted, &request, &stirred);
    let mut is_last = wanted.wait_s == 0;
    // One who queues up behind others has nothing to ask the store but for ids and a lock to give back.
    let rests_at_once =
        turn == Turn::Queued && !is_last && request.idempotency().is_none() && request.released().is_none();
    let mut next = if rests_at_once { Next::Rest(Sight::of_nothing(&wanted.cell)) } else { Next::Try };
    let lock = wanted.cell.clone();
    let mut place = Place { around, request, lock, number, stirred, granted: None, waited: false };
    loop {
        let delivery = match next {
            Next::Try => place.around.lanes.commit(Arc::clone(&place.request), turn).await?,
            Next::Rest(sight) => match place.rest(sight, deadline).await {
                Event::Pulled(outcome) => received(outcome).await?,
                Event::Drain => return Err(Failure::Draining),
                event @ (Event::Try | Event::Deadline) => {
                    // At the deadline, one more try tells who holds the lock now.
                    is_last = matches!(event, Event::Deadline);
                    turn = around.queues.turn(&place.lock, number, is_last);
                    next = Next::Try;
                    continue;
                }
            },
        };
        next = match place.settle(delivery)? {
            Settled::Done(delivery) => return Ok(delivery),
            Settled::Blocked(sight) if is_last => return Err(timed_out(sight.blocked)),
            Settled::Blocked(sight) => Next::Rest(sight),
        };
    }
}

/// What a waiter does next.
enum Next {
    Try,
    Rest(Sight),
}

enum Settled {
    Done(Delivery),
    Blocked(Sight),
}

fn timed_out(blocked: Blocked) -> Failure {
    Failure::Rejected(Rejection::LockTimeout { till_ms: blocked.till_ms, owner: blocked.owner })
}

impl Place<'_> {
    /// Sorts an outcome: the end of the wait, or one more look at a lock that is held.
    fn settle(&mut self, delivery: Delivery) -> Result<Settled, Failure> {
        let now_ms = delivery.now_ms();
        match delivery.verdict() {
            Some(Verdict::Blocked(blocked)) => {
                self.around.queues.note(blocked, self.number);
                let sight = Sight::new(blocked.clone(), now_ms);
                Ok(Settled::Blocked(sight))
            }
            Some(Verdict::Rejected(rejection)) => Err(Failure::Rejected(rejection.clone())),
            Some(Verdict::Applied(applied)) => {
                self.granted = applied.granted.map(|granted| {
                    let (cell, owner) = (self.lock.clone(), bytes::Bytes::new());
                    let (handle, till_ms) = (granted.handle, granted.till_ms);
                    let blocked = Blocked { cell, stamp: handle, till_ms, handle, owner };
                    Sight::new(blocked, now_ms)
                });
                Ok(Settled::Done(delivery))
            }
            None => Err(Failure::Draining),
        }
    }

    /// Waits until there is something to do.
    async fn rest(&mut self, mut sight: Sight, deadline: Instant) -> Event {
        self.waited = true;
        let mut resting = true;
        loop {
            let (rank, pulled) = self.look(&mut sight, resting);
            resting = false;
            if let Some(outcome) = pulled {
                return Event::Pulled(outcome);
            }
            let may_be_free = async {
                match rank {
                    Rank::First => {
                        let changed = self.around.backend.changed(&self.lock, sight.blocked.stamp);
                        tokio::select! {
                            biased;
                            result = changed => pause_after(result).await,
                            () = sleep_until(sight.lease_end()) => {}
                        }
                    }
                    Rank::FirstAfter(pause_till) => sleep_until(pause_till).await,
                    Rank::Behind => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                () = self.around.drain.cancelled() => Event::Drain,
                () = self.stirred.notified() => continue,
                () = may_be_free => Event::Try,
                () = sleep_until(deadline) => Event::Deadline,
            };
            // A lane may have pulled the request in this very moment; then its outcome decides.
            return match self.pulled() {
                Some(outcome) => Event::Pulled(outcome),
                None => event,
            };
        }
    }

    /// Whether it is first by now, and whether it was pulled. `resting` notes that the attempt that was
    /// under way has ended. A newer sight, left by the holder before, replaces the own one.
    fn look(&self, sight: &mut Sight, resting: bool) -> (Rank, Option<oneshot::Receiver<Reply>>) {
        let mut state = self.around.queues.lock_state(&self.lock);
        let Some(queue) = state.queue(&self.lock) else { return (Rank::Behind, None) };
        let is_first = queue.is_first(self.number);
        let granted = queue.granted.take_if(|_| is_first);
        if let Some(granted) = granted.filter(|granted| granted.blocked.stamp > sight.blocked.stamp) {
            *sight = granted;
        }
        let Some(waiter) = queue.waiters.get_mut(&self.number) else { return (Rank::Behind, None) };
        if resting {
            waiter.attempt = Attempt::None;
        }
        let pulled = match &mut waiter.attempt {
            Attempt::Pulled(outcome) => outcome.take(),
            Attempt::None | Attempt::Own => None,
        };
        let rank = match queue.streak.as_ref().and_then(Streak::pause_till) {
            _ if !is_first => Rank::Behind,
            Some(pause_till) => Rank::FirstAfter(pause_till),
            None => Rank::First,
        };
        (rank, pulled)
    }

    fn pulled(&self) -> Option<oneshot::Receiver<Reply>> {
        let mut state = self.around.queues.lock_state(&self.lock);
        let waiter = state.queue(&self.lock)?.waiters.get_mut(&self.number)?;
        match &mut waiter.attempt {
            Attempt::Pulled(outcome) => outcome.take(),
            attempt @ (Attempt::None | Attempt::Own) => {
                // From here on it tries by itself, so that no lane pulls it as well.
                *attempt = Attempt::Own;
                None
            }
        }
    }
}

/// A store that could not look is not asked again at once.
async fn pause_after(result: dragon_contract::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "waiting for a lock's change failed; it is tried again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.around.queues.leave(&self.lock, self.number, self.granted.take(), self.waited);
    }
}
