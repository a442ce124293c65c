//! Latencies, in a histogram: its size is bounded however many there are, and each figure that it gives
//! is right to a thousandth.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// What the histogram tells apart at the fine end, and where it ends, in nanoseconds.
const FINEST_NS: u64 = 100;
const LONGEST_NS: u64 = 1_000_000_000_000;
const DIGITS: u8 = 3;
/// Points of a curve from one nine to the next.
const CURVE_STEPS: u32 = 8;
const CURVE_NINES: u32 = 6;

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50_us: f64,
    /// 90 of 100 were no slower.
    pub p90_us: f64,
    /// 99 of 100 were no slower.
    pub p99_us: f64,
    /// 999 of 1,000 were no slower.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// This share of all, from 0 to 1, was no slower…
    pub share: f64,
    /// …than this.
    pub us: f64,
}

/// All latencies of a run.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let made = Histogram::new_with_bounds(FINEST_NS, LONGEST_NS, DIGITS);
        Self(made.expect("constants that a histogram can be made of"))
    }
}

impl Latencies {
    /// Notes one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(nanoseconds(latency));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Takes in all of another run's.
    pub fn add(&mut self, others: &Self) {
        // Both were made alike, so nothing is out of bounds.
        let _ = self.0.add(&others.0);
    }

    /// The percentiles; all 0 when there are none.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_us: self.at(0.5),
            p90_us: self.at(0.9),
            p99_us: self.at(0.99),
            p999_us: self.at(0.999),
            max_us: self.at(1.0),
        }
    }

    /// The distribution, for a plot: closer and closer towards the slowest, as far as there are enough.
    #[must_use]
    pub fn curve(&self) -> Vec<CurvePoint> {
        let count = self.count() as f64;
        let steps = 0..=CURVE_STEPS * CURVE_NINES;
        let slower = steps.map(|step| 10_f64.powf(-f64::from(step) / f64::from(CURVE_STEPS)));
        let told = slower.take_while(|slower| slower * count >= 1.0);
        told.map(|slower| CurvePoint { share: 1.0 - slower, us: self.at(1.0 - slower) }).collect()
    }

    fn at(&self, share: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(share) as f64 / 1e3 }
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut latencies = Self::default();
        for duration in durations {
            latencies.record(duration);
        }
        latencies
    }
}

#[must_use]
fn nanoseconds(duration: Duration) -> u64 {
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

    fn is_about(figure: f64, expected: f64) -> bool {
        (figure - expected).abs() <= expected * 0.001 + 0.1
    }

    #[test]
    fn percentiles() {
        let latencies: Latencies = (1..=1000).rev().map(Duration::from_micros).collect();
        let Percentiles { p50_us, p90_us, p99_us, p999_us, max_us } = latencies.percentiles();
        for (figure, expected) in
            [(p50_us, 500.0), (p90_us, 900.0), (p99_us, 990.0), (p999_us, 999.0), (max_us, 1000.0)]
        {
            assert!(is_about(figure, expected), "{figure} {expected}");
        }
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
        let mut both: Latencies = [Duration::from_secs(4_000_000)].into_iter().collect();
        both.add(&latencies);
        assert_eq!(both.count(), 1001);
        assert!(both.percentiles().max_us >= LONGEST_NS as f64 / 1e3, "too long, and still noted");
    }

    #[test]
    fn curves_rise() {
        let latencies: Latencies = (1..=1000).map(Duration::from_micros).collect();
        let curve = latencies.curve();
        assert!(curve.windows(2).all(|pair| pair[0].share < pair[1].share && pair[0].us <= pair[1].us));
        assert_eq!(curve[0].share, 0.0);
        assert!(curve.last().unwrap().share > 0.998);
        assert_eq!(Latencies::default().curve(), []);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
