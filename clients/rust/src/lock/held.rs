//! A lock that was granted.

use crate::error::Code;
use crate::retry::{Retries, RetryPolicy};
use crate::{Account, Answer, Error, Handle, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is taken off a lease at least: an answer's way, the rounding of clocks, the wake-up of a timer.
const MARGIN_MIN: Duration = Duration::from_millis(10);
/// What part of a lease is taken off since one clock may go faster than another: far more than any does.
const MARGIN_PART: u32 = 100;

/// A time that is never over, and can be added to any moment.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A lock, its handle, and how it is extended.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) account: Account,
    pub(super) id: Arc<str>,
    pub(super) handle: Handle,
    pub(super) lease: Duration,
    /// The moment before the request was sent that the lease goes back to.
    pub(super) sent: Instant,
    /// Whether the holder before let its lease run out.
    pub(super) expired: bool,
}

impl Held {
    /// Until when the lock is safely held, after a grant or an extension that was sent then.
    pub(super) fn until(&self, sent: Instant) -> Instant {
        sent + self.lease.saturating_sub(margin(self.lease)).min(FOR_EVER)
    }

    /// That part of the lease.
    pub(super) fn part(&self, parts: u32) -> Duration {
        (self.lease / parts).min(FOR_EVER)
    }

    /// Extends the lease once.
    pub(super) async fn extend(&self) -> Result<Answer, Error> {
        let request = Request::new().extend(&*self.id, self.handle, self.lease);
        self.account.send(&request, Duration::ZERO).await
    }

    /// Gives the lock back, best effort: once a lease has passed it has ended by itself.
    pub(super) async fn give_back(&self) {
        let request = Request::new().unlock(&*self.id, self.handle);
        let mut retries = Retries::new(RetryPolicy::lasting(self.lease));
        while let Err(error) = self.account.send(&request, Duration::ZERO).await {
            // Given back before, by a request whose answer was lost, or at an end already.
            if error.code() == Some(&Code::NotLocked) {
                return;
            }
            if let Err(error) = retries.pause(error).await {
                tracing::warn!(lock = &*self.id, %error, "a lock was not given back; its lease ends by itself");
                return;
            }
        }
    }
}

fn margin(lease: Duration) -> Duration {
    (lease / MARGIN_PART).max(MARGIN_MIN)
}

#[cfg(test)]
mod tests {
    use super::margin;
    use std::time::Duration;

    #[test]
    fn the_margin_is_a_hundredth_but_some_milliseconds() {
        assert_eq!(margin(Duration::from_secs(1)), Duration::from_millis(10));
        assert_eq!(margin(Duration::from_secs(30)), Duration::from_millis(300));
    }
}
