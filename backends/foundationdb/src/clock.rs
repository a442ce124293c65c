//! The store's time. FoundationDB has none to offer, so the frontends keep one together: a stored mark, which
//! each of them reads and raises once a second, and between two readings the monotonic clock of each. Wall
//! clocks begin it, and afterwards speed it up or slow it down by a tenth at most: a frontend whose clock is
//! an hour ahead must not end the others' leases. Which way is up to the one that sweeps; the mark tells the others,
//! so that all go at the same pace.
//!
//! How old a mark is when it is read tell the versions of the commits that wrote and read it: the cluster counts
//! a million a second, and more only when it recovers.

use dragon_core::UnixMs;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Versions in a millisecond.
const VERSIONS_PER_MS: u64 = 1_000;
/// A mark that seems older than this may have been written before a recovery, which skips 100 seconds' versions.
const AGE_TRUSTED: Duration = Duration::from_secs(99);
/// How far the wall clock may be off before it pulls.
const WALL_TOLERATED_MS: u64 = 50;

/// The time as one frontend sees it, never going back. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreClock(Arc<Mutex<Option<Reading>>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    us: u64,
    pace: Pace,
}

/// How fast the store's time goes by the monotonic clock. The numbers are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Even = 0,
    Slower = 1,
    Faster = 2,
}

impl Pace {
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Slower,
            2 => Self::Faster,
            _ => Self::Even,
        }
    }

    /// The one that leads to the wall clock's time.
    pub(crate) fn towards(wall_ms: UnixMs, now_ms: UnixMs) -> Self {
        if wall_ms > now_ms + WALL_TOLERATED_MS {
            Self::Faster
        } else if now_ms > wall_ms + WALL_TOLERATED_MS {
            Self::Slower
        } else {
            Self::Even
        }
    }

    fn times(self, elapsed: Duration) -> Duration {
        match self {
            Self::Slower => elapsed - elapsed / 10,
            Self::Even => elapsed,
            Self::Faster => elapsed + elapsed / 10,
        }
    }
}

impl Reading {
    fn now_us(&self) -> u64 {
        self.us + self.pace.times(self.at.elapsed()).as_micros() as u64
    }
}

/// A stored mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) ms: UnixMs,
    pub(crate) pace: Pace,
    /// The version of the commit that wrote it.
    pub(crate) version: u64,
}

impl Mark {
    /// How old it is at a version: so old, or younger by 100 seconds for each recovery since.
    pub(crate) fn age(self, version: u64) -> Duration {
        Duration::from_millis(version.saturating_sub(self.version) / VERSIONS_PER_MS)
    }

    /// What time it is where nobody has raised the mark for long: by the wall clock, but not more than has passed by
    /// the versions.
    pub(crate) fn after_a_pause(self, version: u64, wall_ms: UnixMs) -> UnixMs {
        let age_ms = self.age(version).as_millis() as UnixMs;
        self.ms + age_ms.min(wall_ms.saturating_sub(self.ms))
    }

    /// What it has become by the time of a later commit.
    pub(crate) fn at(self, version: u64) -> UnixMs {
        let age = self.age(version);
        if age <= AGE_TRUSTED { self.ms + self.pace.times(age).as_millis() as UnixMs } else { self.ms }
    }
}

impl StoreClock {
    /// The time; 0 before the first mark.
    pub(crate) fn now_ms(&self) -> UnixMs {
        self.0.lock().map_or(0, |reading| reading.now_us() / 1_000)
    }

    /// Takes in what a mark says now. It may be ahead of this frontend, and is never gone behind.
    pub(crate) fn take_in(&self, marked_ms: UnixMs, pace: Pace) {
        let mut reading = self.0.lock();
        let us = reading.map_or(0, |reading| reading.now_us()).max(marked_ms * 1_000);
        *reading = Some(Reading { at: Instant::now(), us, pace });
    }
}

/// The wall clock, which begins a store's time and pulls at it.
pub(crate) fn wall_ms() -> UnixMs {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as UnixMs
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[tokio::test(start_paused = true)]
    async fn time_goes_at_an_even_pace_and_never_back() {
        let clock = StoreClock::default();
        assert_eq!(clock.now_ms(), 0);
        clock.take_in(HOUR_MS, Pace::Even);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now_ms(), HOUR_MS + 10_000);
        clock.take_in(HOUR_MS, Pace::Even);
        assert_eq!(clock.now_ms(), HOUR_MS + 10_000, "an older mark does not take it back");
        clock.take_in(HOUR_MS + 12_000, Pace::Even);
        assert_eq!(clock.now_ms(), HOUR_MS + 12_000, "a later one is followed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_an_hour_off_pulls_by_a_tenth() {
        for (wall_ms, gone_ms) in [(2 * HOUR_MS, 11_000), (0, 9_000), (HOUR_MS + 20, 10_000)] {
            let clock = StoreClock::default();
            clock.take_in(HOUR_MS, Pace::towards(wall_ms, HOUR_MS));
            tokio::time::advance(Duration::from_secs(10)).await;
            assert_eq!(clock.now_ms(), HOUR_MS + gone_ms);
        }
    }

    #[test]
    fn versions_tell_the_age_of_a_mark() {
        let mark = Mark { ms: 1_000, pace: Pace::Even, version: 7_000_000 };
        assert_eq!(mark.at(7_000_000), 1_000);
        assert_eq!(mark.at(8_500_000), 2_500);
        assert_eq!(Mark { pace: Pace::Faster, ..mark }.at(8_500_000), 2_650);
        assert_eq!(mark.at(6_000_000), 1_000, "read before it was written: no younger");
        assert_eq!(mark.at(108_500_000), 1_000, "a recovery has skipped versions");
        assert_eq!(mark.after_a_pause(108_500_000, 61_000), 61_000);
        assert_eq!(mark.after_a_pause(108_500_000, 500_000), 102_500);
        assert_eq!(mark.after_a_pause(108_500_000, 0), 1_000);
    }
}
