//! Time that is known to lie between two bounds.

use crate::ask::LockAsk;
use crate::history::{History, Moment, StoreClock};

/// Store's milliseconds, both bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    /// The earliest.
    pub(crate) min_ms: u64,
    /// The latest.
    pub(crate) max_ms: u64,
}

impl Span {
    /// The milliseconds of a whole second.
    pub(crate) fn second(second: u64) -> Self {
        let min_ms = second.saturating_mul(1_000);
        Self { min_ms, max_ms: min_ms.saturating_add(999) }
    }

    /// What both allow, if anything.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        let both = Self { min_ms: self.min_ms.max(other.min_ms), max_ms: self.max_ms.min(other.max_ms) };
        (both.min_ms <= both.max_ms).then_some(both)
    }

    /// So much later.
    pub(crate) fn plus_ms(self, ms: u64) -> Self {
        Self { min_ms: self.min_ms.saturating_add(ms), max_ms: self.max_ms.saturating_add(ms) }
    }

    /// So much earlier.
    pub(crate) fn minus_ms(self, ms: u64) -> Self {
        Self { min_ms: self.min_ms.saturating_sub(ms), max_ms: self.max_ms.saturating_sub(ms) }
    }
}

/// How far apart the times of two decisions may be that came in this order, where several servers keep the time
/// together.
const APART_MS: u64 = 250;

/// The store's clock as it shows in a history: within the bounds that are given for it, and, since it never goes back,
/// not before what an earlier grant has told of it, nor after what a later one has. Each grant tells its second by
/// its `Till`.
#[derive(Debug)]
pub(crate) struct Clock {
    zero: StoreClock,
    /// By moment: from then on the time was at least this. Both rise.
    at_least: Vec<(Moment, u64)>,
    /// By moment: until then the time was at most this. Both rise.
    at_most: Vec<(Moment, u64)>,
}

impl Clock {
    pub(crate) fn of(history: &History) -> Self {
        let (mut at_least, mut at_most) = (Vec::new(), Vec::new());
        for operation in &history.operations {
            let told = |ask: LockAsk<'_>| {
                let body = operation.applied().filter(|_| ask.lock.is_some() && ask.dur_s > 0)?;
                Some(Span::second(body["Till"].as_u64()?).minus_ms(ask.dur_s * 1_000))
            };
            if let (Some(told), Some(returned_us)) =
                (LockAsk::of(operation).and_then(told), operation.returned_us())
            {
                at_least.push((returned_us, told.min_ms.saturating_sub(APART_MS)));
                at_most.push((operation.called_us, told.max_ms.saturating_add(APART_MS)));
            }
        }
        at_least.sort_unstable();
        at_most.sort_unstable();
        let mut latest_ms = 0;
        for (_, ms) in &mut at_least {
            latest_ms = latest_ms.max(*ms);
            *ms = latest_ms;
        }
        let mut earliest_ms = u64::MAX;
        for (_, ms) in at_most.iter_mut().rev() {
            earliest_ms = earliest_ms.min(*ms);
            *ms = earliest_ms;
        }
        Self { zero: history.clock, at_least, at_most }
    }

    /// The store's time between two moments of the history.
    pub(crate) fn between(&self, from_us: Moment, to_us: Moment) -> Span {
        let before = self.at_least.partition_point(|(moment, _)| *moment <= from_us);
        let at_least = before.checked_sub(1).and_then(|at| self.at_least.get(at)).map_or(0, |(_, ms)| *ms);
        let after = self.at_most.partition_point(|(moment, _)| *moment < to_us);
        let at_most = self.at_most.get(after).map_or(u64::MAX, |(_, ms)| *ms);
        // A millisecond more, since both clocks are rounded.
        let min_ms = (self.zero.zero_ms_min + from_us / 1_000).saturating_sub(1);
        let max_ms = self.zero.zero_ms_max.saturating_add(to_us / 1_000 + 1);
        Span { min_ms: min_ms.max(at_least), max_ms: max_ms.min(at_most) }
    }
}
