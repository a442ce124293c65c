//! How many bytes an account may store. Nothing is counted while writes go their way: they would all have to look up what
//! they replace. What is stored is measured, and between two measures what requests may have added at most is added up; only
//! when that reaches the quota is it measured again. So nobody is refused who is below the quota, and who is above it got there
//! within the time between two measures.

use crate::error::{ApiError, Code};
use dragon_contract::Backend;
use dragon_core::cell::Account;
use dragon_core::request::Request;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old a measure may be: other servers write too, and things expire.
const MEASURE_AGE_MAX: Duration = Duration::from_secs(60);
/// Shortest time from one measure to the next, …
const MEASURE_PAUSE: Duration = Duration::from_secs(1);
/// … which is also so many times as long as the last one took.
const MEASURE_SHARE: u32 = 20;
/// How soon to come again when the quota is used up.
const FULL_RETRY_S: u64 = 10;

/// What is known of all accounts whose requests have a quota.
#[derive(Debug, Default)]
pub(super) struct Stored(Mutex<HashMap<Account, Arc<Usage>>>);

#[derive(Debug, Default)]
struct Usage {
    known: Mutex<Known>,
    /// Held while it is measured.
    measuring: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    measure: Option<Measure>,
    /// Bytes that requests may have added since.
    added: u64,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    bytes: u64,
    at: Instant,
    took: Duration,
}

/// What is known says this of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    /// Yes, but it is time to measure again.
    StillYes,
    No,
    /// It has to be measured first.
    Unknown,
}

impl Known {
    /// Counts a request in, if it fits.
    fn take(&mut self, adds: u64, bytes_max: u64, now: Instant) -> Fits {
        let Some(Measure { bytes, at, took }) = self.measure else { return Fits::Unknown };
        let age = now.saturating_duration_since(at);
        let pause = MEASURE_PAUSE.max(took * MEASURE_SHARE);
        let fits = if bytes + self.added + adds <= bytes_max {
            if age < MEASURE_AGE_MAX.max(pause) { Fits::Yes } else { Fits::StillYes }
        } else if age >= pause {
            Fits::Unknown
        } else if bytes + adds <= bytes_max {
            Fits::Yes
        } else {
            Fits::No
        };
        if matches!(fits, Fits::Yes | Fits::StillYes) {
            self.added += adds;
        }
        fits
    }
}

impl Usage {
    fn take(&self, adds: u64, bytes_max: u64) -> Fits {
        self.known.lock().take(adds, bytes_max, Instant::now())
    }

    /// Measures, and keeps the last measure when that fails: then the store has other troubles than quotas.
    async fn measure(&self, backend: &dyn Backend, account: &Account) {
        let begun = Instant::now();
        let added_before = self.known.lock().added;
        let measured = backend.stored_bytes(account).await;
        if let Err(error) = &measured {
            tracing::warn!(%error, "what an account stores could not be measured for its quota");
        }
        let mut known = self.known.lock();
        let bytes = measured.unwrap_or_else(|_| known.measure.map_or(0, |measure| measure.bytes));
        known.measure = Some(Measure { bytes, at: Instant::now(), took: begun.elapsed() });
        // What was under way meanwhile may be in the measure, or not.
        known.added -= added_before;
    }
}

impl Stored {
    /// Lets a request pass, if what it adds fits.
    ///
    /// # Errors
    /// When the quota is used up.
    pub(super) async fn admit(
        &self,
        backend: &Arc<dyn Backend>,
        request: &Request,
        bytes_max: NonZeroU64,
    ) -> Result<(), ApiError> {
        let adds = request.added_bytes_max() as u64;
        if adds == 0 {
            return Ok(());
        }
        let (account, bytes_max) = (request.account(), bytes_max.get());
        let usage = Arc::clone(self.0.lock().entry(account.clone()).or_default());
        let mut fits = usage.take(adds, bytes_max);
        if fits == Fits::Unknown {
            // Others may have measured while this one waited.
            let _alone = usage.measuring.lock().await;
            fits = usage.take(adds, bytes_max);
            if fits == Fits::Unknown {
                usage.measure(&**backend, account).await;
                fits = usage.take(adds, bytes_max);
            }
        }
        match fits {
            Fits::Yes | Fits::Unknown => Ok(()),
            Fits::StillYes => {
                if let Ok(alone) = Arc::clone(&usage.measuring).try_lock_owned() {
                    let (backend, account) = (Arc::clone(backend), account.clone());
                    tokio::spawn(async move {
                        usage.measure(&*backend, &account).await;
                        drop(alone);
                    });
                }
                Ok(())
            }
            Fits::No => {
                let message = format!(
                    "The account stores about the {bytes_max} bytes that its quota allows; nothing was applied: delete something."
                );
                Err(ApiError::new(Code::TooManyRequests, message).retry_after(FULL_RETRY_S))
            }
        }
    }

    /// Forgets accounts that nothing was measured of for long.
    pub(super) fn forget(&self) {
        let is_young = |measure: Measure| measure.at.elapsed() < MEASURE_AGE_MAX.max(measure.took) * 2;
        // Without a measure it is being measured now, for the first time.
        self.0.lock().retain(|_, usage| usage.known.lock().measure.is_none_or(is_young));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_measure_refuses() {
        let at = Instant::now();
        let after = |seconds| at + Duration::from_secs(seconds);
        let mut known = Known::default();
        assert_eq!(known.take(1, 100, at), Fits::Unknown);
        known.measure = Some(Measure { bytes: 50, at, took: Duration::ZERO });
        assert_eq!(known.take(50, 100, at), Fits::Yes);
        // These may have replaced what was there: at first they pass, then it is measured.
        assert_eq!(known.take(40, 100, at), Fits::Yes);
        assert_eq!(known.take(60, 100, at), Fits::No);
        assert_eq!(known.take(40, 100, after(1)), Fits::Unknown);
        assert_eq!(known.added, 90, "what did not pass is not counted");
        known.added = 0;
        assert_eq!(known.take(1, 100, after(59)), Fits::Yes);
        assert_eq!(known.take(1, 100, after(60)), Fits::StillYes);
        known.measure = Some(Measure { bytes: 99, at, took: Duration::from_secs(5) });
        assert_eq!(known.take(2, 100, after(99)), Fits::No, "measuring must not take all the time");
        assert_eq!(known.take(2, 100, after(100)), Fits::Unknown);
    }
}
