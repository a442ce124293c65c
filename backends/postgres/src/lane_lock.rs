//! The advisory lock that frontends take turns by in one lane.
//!
//! It is for fairness between frontends, not for safety: a batch is committed only if its accounts are still
//! as they were read. So a frontend that stalls with the lock delays the others once, for as long as the
//! lock is waited for; then they take turns by another one for a while.

use crate::metrics::PostgresMetrics;
use sqlx::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long another lock is used, once one was waited for in vain.
const DOUBTED_FOR: Duration = Duration::from_secs(5);
/// Locks of one lane, the next where someone stalls with the one before.
const LOCKS_OF_LANE: i32 = 4;
/// Numbers between two locks of one lane: more than there are lanes, and what else has a number.
const STRIDE: i32 = 256;

/// The name of an advisory lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneLock {
    pub(crate) class: i32,
    pub(crate) number: i32,
}

/// How taking a lock went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Whether this session has it now.
    pub(crate) is_locked: bool,
    /// Whether another one had it.
    pub(crate) has_waited: bool,
}

impl LaneLock {
    /// Takes it for this session, unless that takes too long.
    pub(crate) async fn take(self, connection: &mut PgConnection) -> sqlx::Result<Taken> {
        const LOCK: &str = "SELECT is_locked, has_waited FROM lock_lane($1, $2)";
        let query = sqlx::query_as(LOCK).bind(self.class).bind(self.number);
        let (is_locked, has_waited) = query.fetch_all(connection).await?.pop().unwrap_or_default();
        Ok(Taken { is_locked, has_waited })
    }
}

/// The locks of one lane.
#[derive(Debug)]
pub(crate) struct LaneLocks {
    first: LaneLock,
    /// Which one is in use, and until when it is not the first.
    current: (i32, Instant),
    /// Whether another frontend had the lock when it was last taken.
    is_contended: Arc<AtomicBool>,
    metrics: PostgresMetrics,
}

impl LaneLocks {
    pub(crate) fn new(class: i32, lane: i16, metrics: PostgresMetrics) -> Self {
        let first = LaneLock { class, number: lane.into() };
        Self { first, current: (0, Instant::now()), is_contended: Arc::default(), metrics }
    }

    /// Tells whether other frontends are in the way: then the lock is waited for before a batch is gathered.
    /// Otherwise that would be a round trip for nothing.
    pub(crate) fn contention(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_contended)
    }

    /// The lock to take now.
    pub(crate) fn current(&mut self) -> LaneLock {
        if self.current.1 <= Instant::now() {
            self.current.0 = 0;
        }
        LaneLock { class: self.first.class, number: self.first.number + self.current.0 * STRIDE }
    }

    /// Learns from how it went.
    pub(crate) fn note(&mut self, taken: Taken) {
        self.is_contended.store(taken.has_waited, Ordering::Relaxed);
        if taken.is_locked {
            return;
        }
        self.metrics.lock_timeouts.inc();
        let (lane, lock) = (self.first.number, self.current.0);
        tracing::info!(lane, lock, "a lane's lock was not got in time: taking another");
        self.current = ((lock + 1).min(LOCKS_OF_LANE - 1), Instant::now() + DOUBTED_FOR);
    }
}
