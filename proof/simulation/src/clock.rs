//! The store's clock: the simulated time, and what jumps have added to it.

use dragon_checker::history::StoreClock;
use dragon_core::UnixMs;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A machine's clock, which may be set. Whoever reads it sees to it that time does not go back.
#[derive(Debug)]
pub struct Clock {
    zero: Instant,
    zero_ms: UnixMs,
    jumps: Mutex<Jumps>,
}

#[derive(Debug, Default)]
struct Jumps {
    now_ms: i64,
    lowest_ms: i64,
    highest_ms: i64,
}

impl Clock {
    /// A clock that shows this time now.
    #[must_use]
    pub fn new(zero_ms: UnixMs) -> Self {
        Self { zero: Instant::now(), zero_ms, jumps: Mutex::default() }
    }

    /// What it shows, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> UnixMs {
        let even_ms = self.zero_ms + self.zero.elapsed().as_millis() as u64;
        even_ms.saturating_add_signed(self.jumps.lock().now_ms)
    }

    /// Sets it so many milliseconds ahead, or back.
    pub fn jump(&self, by_ms: i64) {
        let mut jumps = self.jumps.lock();
        jumps.now_ms += by_ms;
        jumps.lowest_ms = jumps.lowest_ms.min(jumps.now_ms);
        jumps.highest_ms = jumps.highest_ms.max(jumps.now_ms);
    }

    /// Within which bounds it ran. A millisecond either way is for what the recorder adds to tell moments apart.
    #[must_use]
    pub fn bounds(&self) -> StoreClock {
        let jumps = self.jumps.lock();
        StoreClock {
            zero_ms_min: self.zero_ms.saturating_add_signed(jumps.lowest_ms - 1),
            zero_ms_max: self.zero_ms.saturating_add_signed(jumps.highest_ms + 1),
        }
    }
}
