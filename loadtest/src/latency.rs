//! Latencies: all of them are kept, so every percentile is exact.

use serde::Serialize;
use std::time::Duration;

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50_us: f64,
    /// 99 of 100 were no slower.
    pub p99_us: f64,
    /// 999 of 1,000 were no slower.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Percentiles {
    /// Of these durations, in nanoseconds, in any order.
    #[must_use]
    pub fn of(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        let at = |per_mille| nearest_rank(&nanoseconds, per_mille) as f64 / 1e3;
        Self { p50_us: at(500), p99_us: at(990), p999_us: at(999), max_us: at(1000) }
    }
}

/// The smallest of the sorted values that `per_mille` of 1,000 do not pass; 0 when there are none.
fn nearest_rank(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A duration in whole nanoseconds.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The median of figures; of an even number, the mean of the middle two. 0 when there are none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        length if length % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let percentiles = Percentiles::of((1..=1000).rev().map(|us| us * 1000).collect());
        let expected = Percentiles { p50_us: 500.0, p99_us: 990.0, p999_us: 999.0, max_us: 1000.0 };
        assert_eq!(percentiles, expected);
        let one = Percentiles { p50_us: 7.0, p99_us: 7.0, p999_us: 7.0, max_us: 7.0 };
        assert_eq!(Percentiles::of(vec![7000]), one);
        assert_eq!(Percentiles::of(vec![]), Percentiles::default());
        assert_eq!(nearest_rank(&[1, 2], 990), 2);
        assert_eq!(nearest_rank(&[1, 2], 500), 1);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
