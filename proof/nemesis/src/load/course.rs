//! What the clients of one account share: how fast they go, and when they end.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many requests go off at once, so that they overlap however fast the server is.
const BURST: u32 = 4;

/// How fast an account is worked on, and for how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// Requests a second, of all clients together; at least 1.
    pub per_second: u32,
    /// After so many the writers end by themselves: what was asked of one account must stay small enough to be judged.
    pub requests_max: u64,
}

impl Default for Tempo {
    fn default() -> Self {
        Self { per_second: 150, requests_max: 1400 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Work,
    WritersEnd,
    WatchersEnd,
}

/// The course of one account's clients.
#[derive(Debug)]
pub struct Course {
    stage: watch::Sender<Stage>,
    gap: Duration,
    next: Mutex<Slot>,
    left: AtomicU64,
    unique: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    at: Instant,
    free: u32,
}

impl Course {
    /// A course that begins now.
    #[must_use]
    pub fn new(tempo: Tempo) -> Self {
        let gap = Duration::from_secs(1) * BURST / tempo.per_second.max(1);
        let next = Mutex::new(Slot { at: Instant::now(), free: BURST });
        let stage = watch::Sender::new(Stage::Work);
        Self { stage, gap, next, left: AtomicU64::new(tempo.requests_max), unique: AtomicU64::new(1) }
    }

    /// Tells writers to end.
    pub fn stop_writers(&self) {
        self.stage.send_replace(Stage::WritersEnd);
    }

    /// Tells watchers, too, to end.
    pub fn stop_watchers(&self) {
        self.stage.send_replace(Stage::WatchersEnd);
    }

    /// Whether writers go on.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        *self.stage.borrow() == Stage::Work && self.left.load(Ordering::Relaxed) > 0
    }

    /// Whether watchers go on.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        *self.stage.borrow() < Stage::WatchersEnd
    }

    /// Waits until the tempo allows another request.
    pub async fn beat(&self) {
        let at = {
            let mut next = self.next.lock();
            let now = Instant::now();
            if next.at + self.gap <= now {
                *next = Slot { at: now, free: BURST };
            } else if next.free == 0 {
                *next = Slot { at: next.at + self.gap, free: BURST };
            }
            next.free -= 1;
            next.at
        };
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        tokio::time::sleep_until(at.into()).await;
    }

    /// Waits so long, or until writers are told to end.
    pub async fn pause(&self, time: Duration) {
        let mut stage = self.stage.subscribe();
        // An error says that the course is gone, which is an end as well.
        let _ = tokio::time::timeout(time, stage.wait_for(|stage| *stage > Stage::Work)).await;
    }

    /// A number that nobody has had on this account.
    #[must_use]
    pub fn unique(&self) -> u64 {
        self.unique.fetch_add(1, Ordering::Relaxed)
    }
}
