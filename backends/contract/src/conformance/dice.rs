//! Random numbers from a seed, so that a failing run can be repeated.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Seeded by the environment's `CONFORMANCE_SEED`, else by the suite's own seed. The seed is
    /// printed, which the test harness shows when the test fails.
    pub(super) fn from_environment() -> Self {
        let given = std::env::var("CONFORMANCE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(0x000d_ea60_0001);
        println!("CONFORMANCE_SEED={seed}");
        Self(seed)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
