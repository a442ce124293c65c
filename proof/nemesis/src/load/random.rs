//! Chance that comes the same for the same seed.

/// A generator (xorshift): clients that differ by seed differ, and no more is asked of it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One that differs by seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and 0 would stay 0.
        let spread = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((spread ^ (spread >> 29)).max(1))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is far below 2^32; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(((self.number() >> 32) * end) >> 32).unwrap_or_default()
    }

    /// A number from `first` up to and with `last`, both far below 2^32.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + (((self.number() >> 32) * (last.saturating_sub(first) + 1)) >> 32)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
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
            assert!((3..=5).contains(&random.between(3, 5)));
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(random.below(1), 0);
        assert_eq!(random.between(4, 4), 4);
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
