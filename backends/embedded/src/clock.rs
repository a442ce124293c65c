//! The store's time: the machine's clock, never going back. While the machine's clock is behind what
//! was already seen (it was set back), time goes on at nine tenths of its pace until the machine's
//! clock has caught up, so that leases neither freeze nor jump.

use dragon_core::UnixMs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(crate) struct Clock {
    latest_ms: UnixMs,
    read_at: Instant,
}

/// The machine's clock.
pub(crate) fn machine_ms() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(0)
}

impl Clock {
    /// Starts at the machine's time, but not before `stored_ms`, the latest time that was stored.
    pub(crate) fn start(stored_ms: UnixMs) -> Self {
        let machine_ms = machine_ms();
        if stored_ms > machine_ms + 10_000 {
            let behind_s = (stored_ms - machine_ms) / 1_000;
            tracing::warn!(
                behind_s,
                "the machine's clock is behind the time stored here: the store's time goes on slowly until \
                 the clock has caught up, and leases last that little longer"
            );
        }
        Self { latest_ms: stored_ms.max(machine_ms), read_at: Instant::now() }
    }

    /// The time now.
    pub(crate) fn now_ms(&mut self) -> UnixMs {
        self.advance(machine_ms(), Instant::now())
    }

    fn advance(&mut self, machine_ms: UnixMs, at: Instant) -> UnixMs {
        if machine_ms >= self.latest_ms {
            self.latest_ms = machine_ms;
            self.read_at = at;
            return self.latest_ms;
        }
        let slewed = at.saturating_duration_since(self.read_at) * 9 / 10;
        let whole_ms = u64::try_from(slewed.as_millis()).unwrap_or(0);
        self.latest_ms += whole_ms;
        // What is below a millisecond counts on with the next reading.
        self.read_at += Duration::from_millis(whole_ms) * 10 / 9;
        self.latest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_goes_on_slowly_and_never_backwards() {
        let begun = Instant::now();
        let mut clock = Clock { latest_ms: 1_000_000, read_at: begun };
        assert_eq!(clock.advance(1_000_500, begun + Duration::from_millis(500)), 1_000_500);
        let mut latest_ms = 0;
        for step in 1..=1_000_u64 {
            let at = begun + Duration::from_millis(500 + step);
            let now_ms = clock.advance(900_000 + step, at);
            assert!(now_ms >= latest_ms);
            latest_ms = now_ms;
        }
        assert!((1_001_350..=1_001_400).contains(&latest_ms), "{latest_ms}");
        assert_eq!(clock.advance(2_000_000, begun + Duration::from_secs(2)), 2_000_000);
    }
}
