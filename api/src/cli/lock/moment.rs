//! Moments as two processes of this machine can tell them to each other.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// How long before a lock could pass on the command is killed: time for all of it to die.
pub(super) fn margin(lease: Duration) -> Duration {
    (lease / 20).clamp(Duration::from_millis(250), Duration::from_secs(1))
}

/// A moment in nanoseconds since the machine was started, what it was suspended for included: that counts for a lease too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    pub(super) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Self(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default())
    }

    /// The same moment as this one of the standard library, which can't be told to another process.
    pub(super) fn of(instant: Instant) -> Self {
        // Taken first: what passes in between makes the moment earlier, never later.
        let now = Self::now();
        now.after(instant.saturating_duration_since(Instant::now()))
    }

    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(super) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long it is until then.
    pub(super) fn left(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Self::now().0))
    }

    pub(super) fn is_over(self) -> bool {
        Self::now() >= self
    }
}
