//! What is going on right now: how many units all runs of this process have counted. The progress line reads it.

use std::sync::atomic::{AtomicU64, Ordering};

static UNITS: AtomicU64 = AtomicU64::new(0);

/// Counts a unit. One thread counts, so a load and a store are enough, and cheaper than an addition that
/// locks the bus.
pub fn count() {
    UNITS.store(UNITS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// All that were counted so far.
#[must_use]
pub fn units() -> u64 {
    UNITS.load(Ordering::Relaxed)
}
