//! Pauses between tries.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Between half of it and all of it, to the microsecond, so that those in each other's way get out of step.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    let half_us = pause.as_micros() as u64 / 2;
    Duration::from_micros(half_us + RandomState::new().hash_one(()) % (half_us + 1))
}
