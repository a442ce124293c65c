//! Time that is known to lie between two bounds.

use crate::history::{Moment, StoreClock};

/// Store's milliseconds, both bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The earliest.
    pub min_ms: u64,
    /// The latest.
    pub max_ms: u64,
}

impl Span {
    /// The store's time between two moments of the history.
    #[must_use]
    pub fn between(clock: &StoreClock, from_us: Moment, to_us: Moment) -> Self {
        // A millisecond more, since both clocks are rounded.
        Self {
            min_ms: (clock.zero_ms_min + from_us / 1_000).saturating_sub(1),
            max_ms: clock.zero_ms_max.saturating_add(to_us / 1_000 + 1),
        }
    }

    /// The milliseconds of a whole second.
    #[must_use]
    pub fn second(second: u64) -> Self {
        let min_ms = second.saturating_mul(1_000);
        Self { min_ms, max_ms: min_ms.saturating_add(999) }
    }

    /// What both allow, if anything.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { min_ms: self.min_ms.max(other.min_ms), max_ms: self.max_ms.min(other.max_ms) };
        (both.min_ms <= both.max_ms).then_some(both)
    }

    /// So much later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self { min_ms: self.min_ms.saturating_add(ms), max_ms: self.max_ms.saturating_add(ms) }
    }

    /// So much earlier.
    #[must_use]
    pub fn minus_ms(self, ms: u64) -> Self {
        Self { min_ms: self.min_ms.saturating_sub(ms), max_ms: self.max_ms.saturating_sub(ms) }
    }
}
