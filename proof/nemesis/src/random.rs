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

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_spread_and_stay_within_their_bounds() {
        let mut random = Random::new(7);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[random.below(10)] += 1;
            assert!((3..=5).contains(&random.within(3..=5)));
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(random.below(1), 0);
        assert_eq!(random.within(4..=4), 4);
        let hits = (0..10_000).filter(|_| random.chance(25)).count();
        assert!((2200..2800).contains(&hits), "{hits}");
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut same, mut other) = (Random::new(1), Random::new(1), Random::new(2));
        assert_eq!(one.number(), same.number());
        assert_ne!(one.number(), other.number());
    }
}
