//! When a request that failed is sent again.

use crate::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// How long, and how often, something that failed for a passing reason is tried again.
///
/// The pauses double from the first to the longest, each of them cut by chance to between half and all of it, so that
/// many clients don't come back at once. A server's `Retry-After` makes a pause longer, never shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pause_first: Duration,
    pause_max: Duration,
    give_up_after: Duration,
}

impl Default for RetryPolicy {
    /// Pauses of 100 ms to 5 s, for 30 s.
    fn default() -> Self {
        Self::lasting(Duration::from_secs(30))
    }
}

impl RetryPolicy {
    /// Nothing is tried again.
    #[must_use]
    pub fn never() -> Self {
        Self::lasting(Duration::ZERO)
    }

    /// Tries go on for this long after the first failure; success starts the count anew. One more request may be under
    /// way then, which has its own [timeout](crate::ClientBuilder::timeout).
    #[must_use]
    pub fn lasting(give_up_after: Duration) -> Self {
        Self { pause_first: Duration::from_millis(100), pause_max: Duration::from_secs(5), give_up_after }
    }

    /// The same with other pauses.
    #[must_use]
    pub fn with_pauses(self, first: Duration, longest: Duration) -> Self {
        Self { pause_first: first, pause_max: longest, ..self }
    }
}

/// The failures in a row of one thing that is tried.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    failures: u32,
    first_failure: Option<Instant>,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0, first_failure: None }
    }

    /// Forgets the failures, as one try went well.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The failure itself, when it would not pass or it is time to give up.
    pub(crate) async fn pause(&mut self, error: Error) -> Result<(), Error> {
        if self.pause_after(&error).await { Ok(()) } else { Err(error) }
    }

    /// The same, and says whether there is to be a next try.
    pub(crate) async fn pause_after(&mut self, error: &Error) -> bool {
        let Some(pause) = self.next_pause(error) else { return false };
        tracing::debug!(%error, ?pause, "a request failed and is sent again");
        tokio::time::sleep(pause).await;
        true
    }

    fn next_pause(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        let doubled = self.policy.pause_first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures += 1;
        let pause = jittered(doubled.min(self.policy.pause_max)).max(error.retry_after().unwrap_or_default());
        (first_failure.elapsed().saturating_add(pause) < self.policy.give_up_after).then_some(pause)
    }
}

/// Between half of it and all of it.
pub(crate) fn jittered(pause: Duration) -> Duration {
    // The standard library's only source of chance.
    let chance = RandomState::new().hash_one(()) % 1_000;
    pause / 2 + (pause / 2).mul_f64(chance as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::{Retries, RetryPolicy};
    use crate::Error;
    use std::time::Duration;

    fn passing() -> Error {
        Error::NotCloudDragon { status: 502, detail: String::new() }
    }

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy::lasting(Duration::from_secs(10))
            .with_pauses(Duration::from_secs(1), Duration::from_secs(3));
        let mut retries = Retries::new(policy);
        let mut pause = || retries.next_pause(&passing()).unwrap();
        for (at_least_ms, at_most_ms) in [(500, 1_000), (1_000, 2_000), (1_500, 3_000), (1_500, 3_000)] {
            let pause_ms = pause().as_millis();
            assert!((at_least_ms..=at_most_ms).contains(&pause_ms), "{pause_ms}");
        }
        assert_eq!(Retries::new(RetryPolicy::never()).next_pause(&passing()), None);
    }

    #[test]
    fn what_does_not_pass_is_not_tried_again() {
        let invalid = Error::Invalid(String::new());
        assert_eq!(Retries::new(RetryPolicy::default()).next_pause(&invalid), None);
    }
}
