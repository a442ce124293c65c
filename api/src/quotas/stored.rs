//! How many bytes an account may store. Nothing is counted while writes go their way: they would all have to look up what
//! they replace. What is stored is measured beside them, and between two measures what requests may have added at most is
//! summed up; when that reaches the quota it is measured again. Requests never wait for a measure: who is above the quota got
//! there before the next measure was done.

use crate::error::{ApiError, Code};
use dragon_contract::{Backend, BackendError};
use dragon_core::cell::{Account, Cell};
use dragon_core::request::Request;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How old a measure may be: other servers write too, and things expire.
const AGE_MAX: Duration = Duration::from_secs(60);
/// Shortest time from one measure to the next, …
const PAUSE: Duration = Duration::from_secs(1);
/// … which is also so many times as long as the last one took.
const PAUSE_SHARE: u32 = 20;
/// Measures at a time, of all accounts.
const MEASURES_MAX: usize = 2;
/// Accounts that may wait for theirs; of more, those whose next request comes when there is room.
const MEASURES_WAITING_MAX: usize = 1_000;

/// What is known of all accounts whose requests have a quota.
#[derive(Debug)]
pub(super) struct Stored {
    accounts: Mutex<HashMap<Account, Arc<Usage>>>,
    /// Held while one is measured.
    measures: Semaphore,
    /// One for each account that is measured or waits for it.
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Usage {
    known: Mutex<Known>,
    is_measured: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    measure: Option<Measure>,
    /// Bytes that requests may have added since, of those that have ended …
    ended: u64,
    /// … and those under way.
    under_way: u64,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    bytes: u64,
    at: Instant,
    took: Duration,
}

impl Measure {
    /// How long it is before the next one.
    fn pause(&self) -> Duration {
        PAUSE.max(self.took * PAUSE_SHARE)
    }
}

/// What is known says this of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judgement {
    fits: bool,
    /// Whether it is time to measure.
    is_due: bool,
}

impl Known {
    /// Counts a request in, if it fits.
    fn take(&mut self, adds: u64, bytes_max: u64, now: Instant) -> Judgement {
        let judgement = match self.measure {
            None => Judgement { fits: true, is_due: true },
            Some(measure) => {
                let age = now.saturating_duration_since(measure.at);
                let certainly_fits = measure.bytes + self.ended + self.under_way + adds <= bytes_max;
                let due_after = if certainly_fits { AGE_MAX.max(measure.pause()) } else { measure.pause() };
                Judgement { fits: measure.bytes + adds <= bytes_max, is_due: age >= due_after }
            }
        };
        if judgement.fits {
            self.under_way += adds;
        }
        judgement
    }

    fn end(&mut self, adds: u64) {
        self.under_way -= adds;
        self.ended += adds;
    }
}

impl Usage {
    /// Measures. When that fails the last measure stays: the store has other troubles than quotas then.
    async fn measure(&self, backend: &dyn Backend, account: &Account) {
        let (begun, ended_before) = (Instant::now(), self.known.lock().ended);
        let measured = backend.stored_bytes(account).await;
        let mut known = self.known.lock();
        let bytes = match measured {
            Ok(bytes) => {
                // What ended meanwhile may be in the measure, or not.
                known.ended -= ended_before;
                bytes
            }
            Err(error) => {
                tracing::warn!(%error, "what an account stores could not be measured for its quota");
                known.measure.map_or(0, |measure| measure.bytes)
            }
        };
        known.measure = Some(Measure { bytes, at: Instant::now(), took: begun.elapsed() });
    }

    /// Whether nothing will be missed when it is forgotten.
    fn is_of_no_use(&self) -> bool {
        let known = self.known.lock();
        let is_old = |measure: Measure| measure.at.elapsed() > AGE_MAX.max(measure.pause()) * 2;
        known.under_way == 0 && !self.is_measured.load(Ordering::Relaxed) && known.measure.is_none_or(is_old)
    }
}

/// A request under way that may add something. Dropping it tells that it has ended.
#[derive(Debug)]
pub(crate) struct Adding {
    usage: Arc<Usage>,
    bytes: u64,
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.usage.known.lock().end(self.bytes);
    }
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            accounts: Mutex::default(),
            measures: Semaphore::new(MEASURES_MAX),
            places: Arc::new(Semaphore::new(MEASURES_WAITING_MAX)),
        }
    }
}

impl Stored {
    /// Lets a request pass, if what it adds fits.
    ///
    /// # Errors
    /// When the quota is used up.
    pub(super) async fn admit(
        self: &Arc<Self>,
        backend: &Arc<dyn Backend>,
        request: &Request,
        bytes_max: NonZeroU64,
    ) -> Result<Option<Adding>, ApiError> {
        let (account, bytes) = (request.account(), request.added_bytes_max() as u64);
        if bytes == 0 {
            return Ok(None);
        }
        let usage = Arc::clone(self.accounts.lock().entry(account.clone()).or_default());
        let judgement = usage.known.lock().take(bytes, bytes_max.get(), Instant::now());
        if judgement.is_due {
            self.begin_measure(backend, account, &usage);
        }
        if judgement.fits {
            return Ok(Some(Adding { usage, bytes }));
        }
        if was_sent_before(&**backend, request).await? {
            return Ok(None);
        }
        let message = format!(
            "The account stores about the {bytes_max} bytes that its quota allows; nothing was applied: delete something."
        );
        let pause = usage.known.lock().measure.map_or(PAUSE, |measure| measure.pause());
        Err(ApiError::new(Code::TooManyRequests, message).retry_after(pause.as_secs() + 1))
    }

    fn begin_measure(self: &Arc<Self>, backend: &Arc<dyn Backend>, account: &Account, usage: &Arc<Usage>) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        if usage.is_measured.swap(true, Ordering::Relaxed) {
            return;
        }
        let (this, usage) = (Arc::clone(self), Arc::clone(usage));
        let (backend, account) = (Arc::clone(backend), account.clone());
        tokio::spawn(async move {
            let turn = this.measures.acquire().await;
            usage.measure(&*backend, &account).await;
            usage.is_measured.store(false, Ordering::Relaxed);
            drop((turn, place));
        });
    }

    /// Measures for whoever wants to know, beside the others.
    pub(super) async fn tell(&self, backend: &dyn Backend, account: &Account) -> Result<u64, BackendError> {
        let _turn = self.measures.acquire().await;
        backend.stored_bytes(account).await
    }

    /// Forgets accounts to which nothing was written for long.
    pub(super) fn forget(&self) {
        self.accounts.lock().retain(|_, usage| Arc::strong_count(usage) > 1 || !usage.is_of_no_use());
    }
}

/// Whether a request with the same ids was applied: it adds nothing, and is owed that one's answer.
async fn was_sent_before(backend: &dyn Backend, request: &Request) -> Result<bool, ApiError> {
    let cells: &[Cell] = request.idempotency().map_or(&[], |idempotency| &idempotency.cells);
    Ok(!cells.is_empty() && backend.load(cells).await?.rows.iter().any(Option::is_some))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(known: &mut Known, adds: u64, now: Instant) -> (bool, bool) {
        let Judgement { fits, is_due } = known.take(adds, 100, now);
        (fits, is_due)
    }

    #[test]
    fn only_what_was_measured_refuses() {
        let at = Instant::now();
        let after = |seconds| at + Duration::from_secs(seconds);
        let mut known = Known::default();
        assert_eq!(judged(&mut known, 1, at), (true, true), "nothing is known yet");
        known.end(1);
        known.ended = 0;
        known.measure = Some(Measure { bytes: 50, at, took: Duration::ZERO });
        assert_eq!(judged(&mut known, 50, after(59)), (true, false));
        // These may have replaced what was there: they pass, and it is measured.
        assert_eq!(judged(&mut known, 40, at), (true, false), "too soon");
        assert_eq!(judged(&mut known, 40, after(1)), (true, true));
        assert_eq!(judged(&mut known, 60, at), (false, false));
        assert_eq!(known.under_way, 130, "what did not pass is not counted");
        known.end(130);
        assert_eq!((known.under_way, known.ended), (0, 130));
        known.ended = 0;
        assert_eq!(judged(&mut known, 1, after(60)), (true, true), "others write too");
        known.measure = Some(Measure { bytes: 99, at, took: Duration::from_secs(5) });
        assert_eq!(judged(&mut known, 2, after(99)), (false, false), "measuring must not take all the time");
        assert_eq!(judged(&mut known, 2, after(100)), (false, true));
    }
}
