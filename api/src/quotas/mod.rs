//! How much one account may ask for, so that the others get their share. Each server counts for itself.

mod stored;

use crate::access::{KnownToken, Permit};
use crate::error::{ApiError, Code};
use clap::Args;
use dragon_contract::{Backend, BackendError};
use dragon_core::cell::Account;
use dragon_core::request::Request;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;
pub(crate) use stored::Adding;
use stored::Stored;

/// How often accounts that have asked for nothing lately are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(5);
/// How soon to come again where too many wait: nobody knows when one of them will be done.
const PLACE_RETRY_S: u64 = 1;

/// What an account may ask of this server.
#[derive(Clone, Debug, Args)]
pub struct QuotaSettings {
    /// Requests to /db, /watch and /list a second for each account, in bursts of as many; a token may have a quota of its own
    #[arg(long, env = "DRAGON_QUOTA_REQUESTS", value_name = "COUNT")]
    pub quota_requests: Option<NonZeroU32>,

    /// Requests of each account that may wait for a lock or a change at a time; a token may have a quota of its own
    #[arg(long, env = "DRAGON_QUOTA_WAITING", value_name = "COUNT")]
    pub quota_waiting: Option<NonZeroU32>,

    /// Bytes that each account may store, keys and what each row takes besides included; a token may have a quota of its own for the accounts that it writes to
    #[arg(long, env = "DRAGON_QUOTA_BYTES", value_name = "BYTES")]
    pub quota_bytes: Option<NonZeroU64>,
}

/// What has been asked for lately.
#[derive(Debug)]
pub(crate) struct Quotas {
    requests: Option<DefaultKeyedRateLimiter<Account>>,
    waiting_max: Option<NonZeroU32>,
    waiting: Mutex<HashMap<Counted, u32>>,
    bytes_max: Option<NonZeroU64>,
    stored: Arc<Stored>,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    Account(Account),
    Token(String),
}

/// The quota of one token, counted apart from all others.
pub(crate) fn of_token(requests: NonZeroU32) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(requests))
}

impl Quotas {
    pub(crate) fn new(settings: &QuotaSettings) -> Arc<Self> {
        let requests =
            settings.quota_requests.map(|requests| RateLimiter::keyed(Quota::per_second(requests)));
        Arc::new(Self {
            requests,
            waiting_max: settings.quota_waiting,
            waiting: Mutex::default(),
            bytes_max: settings.quota_bytes,
            stored: Arc::default(),
        })
    }

    /// Counts a request.
    ///
    /// # Errors
    /// When there were too many of late.
    pub(crate) fn count(&self, account: &str, token: Option<&KnownToken>) -> Result<(), ApiError> {
        let counted = match (token.and_then(|token| token.requests.as_ref()), &self.requests) {
            (Some(of_token), _) => of_token.check(),
            (None, Some(of_accounts)) => match Account::new(account) {
                Ok(account) => of_accounts.check_key(&account),
                // It is refused for that, and what clients make up is not remembered.
                Err(_) => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        counted.map_err(|until: NotUntil<_>| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let message = "More requests than the quota allows; nothing was applied, send it again after Retry-After seconds.";
            ApiError::new(Code::TooManyRequests, message).retry_after(wait.as_secs() + 1)
        })
    }

    /// Takes a place for a request that may wait.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn place(
        self: &Arc<Self>,
        account: &Account,
        permit: &Permit,
    ) -> Result<Option<Place>, ApiError> {
        let token = permit.token.as_deref();
        let of_token = token.and_then(|token| Some((token.entry.quota_waiting?, &token.entry.name)));
        let (max, counted) = match (of_token, self.waiting_max) {
            (Some((max, name)), _) => (max, Counted::Token(name.clone())),
            (None, Some(max)) => (max, Counted::Account(account.clone())),
            (None, None) => return Ok(None),
        };
        let mut waiting = self.waiting.lock();
        let count = waiting.entry(counted.clone()).or_default();
        if *count >= max.get() {
            let message =
                format!("{max} requests wait already, as many as the quota allows; nothing was applied.");
            return Err(ApiError::new(Code::TooManyRequests, message).retry_after(PLACE_RETRY_S));
        }
        *count += 1;
        Ok(Some(Place { quotas: Arc::clone(self), counted }))
    }

    /// How many bytes may be stored in an account by requests with this permit.
    pub(crate) fn bytes_max(&self, permit: &Permit) -> Option<NonZeroU64> {
        permit.token.as_ref().and_then(|token| token.entry.quota_bytes).or(self.bytes_max)
    }

    /// Lets a request pass, if what it adds fits into so many bytes.
    ///
    /// # Errors
    /// When they are used up.
    pub(crate) async fn admit(
        &self,
        backend: &Arc<dyn Backend>,
        request: &Request,
        bytes_max: NonZeroU64,
    ) -> Result<Option<Adding>, ApiError> {
        self.stored.admit(backend, request, bytes_max).await
    }

    /// How many bytes an account stores.
    ///
    /// # Errors
    /// When the store can't tell.
    pub(crate) async fn stored_bytes(
        &self,
        backend: &dyn Backend,
        account: &Account,
    ) -> Result<u64, BackendError> {
        self.stored.tell(backend, account).await
    }

    /// Forgets what is of no use any more, again and again.
    pub(crate) async fn keep_small(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.stored.forget();
            if let Some(requests) = &self.requests {
                requests.retain_recent();
                requests.shrink_to_fit();
            }
        }
    }
}

/// A place among those who wait. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place {
    quotas: Arc<Quotas>,
    counted: Counted,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.quotas.waiting.lock();
        if let Some(count) = waiting.get_mut(&self.counted) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.counted);
            }
        }
    }
}
