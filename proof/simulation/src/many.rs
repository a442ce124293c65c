//! Many seeds, on several threads.

use crate::bug::Bug;
use crate::judge::{Judged, judge};
use crate::store::Counts;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Which seeds to play.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The first one.
    pub first: u64,
    /// How many; `None` = until the time is over.
    pub count: Option<u64>,
    /// For how long at most.
    pub time: Option<Duration>,
    /// On how many threads.
    pub threads: usize,
    /// The mistake in the store.
    pub bug: Option<Bug>,
}

/// What they came to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Seeds played.
    pub seeds: u64,
    /// Operations of all clients.
    pub operations: u64,
    /// Accounts whose linearizability could not be decided within the search's bounds.
    pub undecided: u64,
    /// What was done to the stores and frontends.
    pub counts: Counts,
    /// All digests in one; it does not depend on the threads.
    pub digest: u64,
    /// How long it took.
    pub took: Duration,
    /// The lowest seed that was found bad; those after it need not have been played.
    pub bad: Option<Box<Judged>>,
}

impl Total {
    fn add(&mut self, judged: Judged) {
        self.seeds += 1;
        self.operations += judged.run.history.operations.len() as u64;
        self.undecided += judged.report.undecided.len() as u64;
        for (what, count) in &judged.run.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.digest ^= judged.run.digest.wrapping_mul(2 * judged.run.seed + 1);
        let is_lower = |known: &Judged| known.run.seed > judged.run.seed;
        if !judged.is_clean() && self.bad.as_deref().is_none_or(is_lower) {
            self.bad = Some(Box::new(judged));
        }
    }

    /// How many seeds were played in a minute.
    #[must_use]
    pub fn seeds_a_minute(&self) -> f64 {
        self.seeds as f64 * 60.0 / self.took.as_secs_f64().max(0.001)
    }
}

/// Plays them until one is found bad.
///
/// # Panics
/// When a thread does.
#[must_use]
pub fn play(seeds: Seeds) -> Total {
    let begun = Instant::now();
    let (next, has_found) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    let is_over =
        || has_found.load(Ordering::SeqCst) || seeds.time.is_some_and(|time| begun.elapsed() >= time);
    std::thread::scope(|scope| {
        for _ in 0..seeds.threads.max(1) {
            scope.spawn(|| {
                while !is_over() {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if seeds.count.is_some_and(|count| number >= count) {
                        return;
                    }
                    let judged = judge(seeds.first + number, seeds.bug);
                    has_found.fetch_or(!judged.is_clean(), Ordering::SeqCst);
                    total.lock().expect("no thread panics with it").add(judged);
                }
            });
        }
    });
    let total = total.into_inner().expect("no thread panics with it");
    Total { took: begun.elapsed(), ..total }
}
