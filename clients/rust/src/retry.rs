//! When a request that failed is sent again.

use crate::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// A wait that was cut short after so long was one: something that answers was there.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// The pauses after conflicts: from the time of some requests on, to one that many can share.
const CONFLICT_PAUSE_FIRST: Duration = Duration::from_millis(4);
const CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long, and how often, something that failed for a passing reason is tried again.
///
/// The pauses double from the first to the longest, each of them cut by chance to between half and all of it, so that
/// many clients don't come back at once. A server's `Retry-After` makes a pause longer, never shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pause_first: Duration,
    pause_max: Duration,
    give_up_after: Duration,
    long_wait: Duration,
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
        let (pause_first, pause_max) = (Duration::from_millis(100), Duration::from_secs(5));
        Self { pause_first, pause_max, give_up_after, long_wait: LONG_WAIT }
    }

    /// The same with other pauses.
    #[must_use]
    pub fn with_pauses(self, first: Duration, longest: Duration) -> Self {
        Self { pause_first: first, pause_max: longest, ..self }
    }

    /// The same, where gateways between here and the server cut requests that wait sooner. A wait for a lock or for a change
    /// that was cut short, but went on for at least so long, counts as a first failure; 10 s when not given.
    #[must_use]
    pub fn with_long_wait(self, long: Duration) -> Self {
        Self { long_wait: long, ..self }
    }
}

/// The failures in a row of one thing that is tried.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    failures: u32,
    first_failure: Option<Instant>,
    /// Since when the server may hold the answer back, and for how long.
    wait: Option<(Instant, Duration)>,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0, first_failure: None, wait: None }
    }

    /// Notes that the next try is one which the server may hold back for so long.
    pub(crate) fn begin_wait(&mut self, hold: Duration) {
        self.wait = Some((Instant::now(), hold));
    }

    /// Notes that the server was there after all: the time to give up begins anew. The pauses go on growing.
    pub(crate) fn server_is_there(&mut self) {
        self.first_failure = None;
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
        let Some(pause) = self.next_pause(error, Instant::now()) else { return false };
        tracing::debug!(%error, ?pause, "a request failed and is sent again");
        tokio::time::sleep(pause).await;
        true
    }

    fn next_pause(&mut self, error: &Error, now: Instant) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        if self.was_long_wait(error, now) {
            self.reset();
        }
        let first_failure = *self.first_failure.get_or_insert(now);
        let pause = doubled(self.policy.pause_first, self.failures, self.policy.pause_max);
        self.failures += 1;
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let failing_for = now.saturating_duration_since(first_failure);
        (failing_for.saturating_add(pause) < self.policy.give_up_after).then_some(pause)
    }

    /// Whether this is how a wait ends where something between here and the server lets none go on for long.
    fn was_long_wait(&self, error: &Error, now: Instant) -> bool {
        let Some((begun, hold)) = self.wait else { return false };
        let long = self.policy.long_wait;
        // Where it would have been answered sooner than that, it is not the waiting that it is cut for.
        error.is_of_someone() && hold >= long && now.saturating_duration_since(begun) >= long
    }
}

/// The pause after so many conflicts with others in a row: the more there are, the longer, as each may be one more of them.
pub(crate) fn pause_after_conflicts(conflicts: u32) -> Duration {
    doubled(CONFLICT_PAUSE_FIRST, conflicts.saturating_sub(1), CONFLICT_PAUSE_MAX)
}

/// The first pause, doubled so many times but not above the longest, and cut by chance.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    jittered(first.saturating_mul(2_u32.saturating_pow(times)).min(longest))
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
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    fn passing() -> Error {
        Error::NotCloudDragon { status: 502, detail: String::new() }
    }

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy::lasting(10 * SECOND).with_pauses(SECOND, 3 * SECOND);
        let mut retries = Retries::new(policy);
        let now = Instant::now();
        for (at_least_ms, at_most_ms) in [(500, 1_000), (1_000, 2_000), (1_500, 3_000), (1_500, 3_000)] {
            let pause_ms = retries.next_pause(&passing(), now).unwrap().as_millis();
            assert!((at_least_ms..=at_most_ms).contains(&pause_ms), "{pause_ms}");
        }
        assert_eq!(retries.next_pause(&passing(), now + 10 * SECOND), None);
        assert_eq!(Retries::new(RetryPolicy::never()).next_pause(&passing(), now), None);
    }

    #[test]
    fn what_does_not_pass_is_not_tried_again() {
        let invalid = Error::Invalid(String::new());
        assert_eq!(Retries::new(RetryPolicy::default()).next_pause(&invalid, Instant::now()), None);
    }

    /// How many tries that end in a 502 after so long it takes until it is given up, up to a hundred.
    fn tries(lasting: Duration, hold: Option<Duration>) -> u32 {
        let mut retries = Retries::new(RetryPolicy::default());
        let mut now = Instant::now();
        for tries in 1..100 {
            retries.wait = hold.map(|hold| (now, hold));
            now += lasting;
            match retries.next_pause(&passing(), now) {
                Some(pause) => now += pause,
                None => return tries,
            }
        }
        100
    }

    #[test]
    fn waits_that_are_cut_late_go_on_for_ever() {
        assert_eq!(tries(35 * SECOND, Some(45 * SECOND)), 100);
        assert_eq!(tries(60 * SECOND, Some(300 * SECOND)), 100);
        assert!(tries(5 * SECOND, Some(300 * SECOND)) < 8, "cut soon, they are failures in a row");
        assert_eq!(tries(35 * SECOND, None), 2, "nothing is to be waited for");
        assert!(tries(12 * SECOND, Some(SECOND)) < 5, "the wait should have been over long ago");
    }

    #[test]
    fn an_answer_to_something_else_has_the_time_begin_anew_but_not_the_pauses() {
        let mut retries = Retries::new(RetryPolicy::default());
        let mut now = Instant::now();
        for _ in 0..20 {
            retries.next_pause(&passing(), now).unwrap();
            retries.server_is_there();
            now += 20 * SECOND;
        }
        assert!(retries.next_pause(&passing(), now).unwrap() > 2 * SECOND);
    }
}
