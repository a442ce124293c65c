//! Chance that can be played again.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A small generator (xorshift64*, Vigna 2016): the same seed, the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Seeds that lie side by side should not begin alike, and the state must not be 0.
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from 0 up to but not `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The upper half, which is the better one.
        ((self.number() >> 33) as usize).checked_rem(bound).unwrap_or(0)
    }

    /// A number of a range, both its ends included.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        first + (self.number() >> 33) % (last.saturating_sub(first) + 1)
    }

    /// So many milliseconds, both ends included.
    pub fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// Yes or no, as often.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// One of these; none where there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}
