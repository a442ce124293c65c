//! Chance, all of it from one seed.

use dragon_core::hash::fnv1a;
use std::time::Duration;

/// A stream of numbers (splitmix64, Steele et al. 2014). Streams of one seed under different names know nothing
/// of each other, so that one more throw here changes nothing there.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of that name.
    #[must_use]
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut random = Self(seed ^ fnv1a(stream.as_bytes()));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound; 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number between these, both included.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max - min + 1)
    }

    /// Whether something happens that does in so many of a thousand cases.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// A time of at most so many milliseconds.
    pub fn time(&mut self, ms_max: u64) -> Duration {
        Duration::from_millis(self.below(ms_max + 1))
    }
}
