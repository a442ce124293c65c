//! Fairness between frontends. Within one frontend a lock goes from hand to hand without ever being
//! free, so waiters at other frontends would never get it. A streak of such grants is therefore
//! bounded: once it has lasted for [`STREAK_MAX`], the lock's release hands it to nobody, and the own
//! waiters leave it alone for [`PAUSE`], from when the first of them has seen it free.
//!
//! Other frontends need not know: their first waiters are woken by the release and try at once.

use crate::lock_queues::Sight;
use std::time::Duration;
use tokio::time::Instant;

/// How long a lock may go from hand to hand within one frontend.
const STREAK_MAX: Duration = Duration::from_millis(100);
/// How long it is then left to other frontends: enough for them to be notified and to commit.
const PAUSE: Duration = Duration::from_millis(20);

/// A lock that goes from hand to hand within this frontend, as far as is known.
#[derive(Debug)]
pub(crate) struct Streak {
    since: Instant,
    /// The latest grant's.
    handle: u64,
    /// Until when the own waiters leave the lock alone; set once it was seen free.
    pause_till: Option<Instant>,
    /// When it is forgotten, if nobody waits here then. Before, an empty queue does not end it: two who
    /// take turns leave the queue empty each time.
    lapses_at: Instant,
}

impl Streak {
    /// The streak after a grant here. It begins with a grant that was `waited` for.
    pub(crate) fn after_grant(streak: Option<Self>, granted: &Sight, waited: bool) -> Option<Self> {
        let (handle, lapses_at) = (granted.blocked.handle, granted.lease_end());
        match streak {
            // The others had their chance.
            Some(streak) if streak.has_paused() => None,
            Some(streak) => Some(Self { handle, pause_till: None, lapses_at, ..streak }),
            None => waited.then(|| Self { since: Instant::now(), handle, pause_till: None, lapses_at }),
        }
    }

    /// Notes a release. A grant right after it continues the streak: the lock was hardly free.
    pub(crate) fn note_release(&mut self) {
        self.lapses_at = Instant::now() + PAUSE;
    }

    /// Notes which handle the first waiter saw holding the lock, 0 if none. Whether that ends the streak:
    /// handles rise, so a higher one than the latest granted here was granted elsewhere.
    pub(crate) fn note_holder(&mut self, holder: u64) -> bool {
        if holder > 0 {
            self.pause_till = None;
        } else if self.is_too_long() {
            self.pause_till.get_or_insert_with(|| Instant::now() + PAUSE);
        }
        holder > self.handle
    }

    /// Whether the own waiters may not take the lock now, be it free or not.
    pub(crate) fn yields(&self) -> bool {
        self.is_too_long() && !self.has_paused()
    }

    /// Until when the lock, which is free, is left alone.
    pub(crate) fn pause_till(&self) -> Option<Instant> {
        self.pause_till
    }

    /// Whether it is over unless someone waits.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.lapses_at <= Instant::now()
    }

    fn is_too_long(&self) -> bool {
        self.since.elapsed() >= STREAK_MAX
    }

    fn has_paused(&self) -> bool {
        self.pause_till.is_some_and(|till| till <= Instant::now())
    }
}
