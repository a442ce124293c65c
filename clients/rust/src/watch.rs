//! Waiting for a key to change.

use crate::account::{Route, answered, body};
use crate::retry::Retries;
use crate::{Account, Error, ValueState};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Serialize;
use std::time::Duration;

/// How long one request waits for a change: less than the 60 s after which many gateways cut a request.
const WAIT: Duration = Duration::from_secs(45);

/// The changes of one key; made by [`Account::watch`].
///
/// Each request passes on the version that the one before has told, so no change is missed in between; several changes that
/// come quickly may be told as one, by the last of them. The connection breaking or the server being away is bridged for as
/// long as the client's [`RetryPolicy`](crate::RetryPolicy) says.
///
/// ```no_run
/// # use dragon_client::{Account, Error};
/// # async fn example(account: Account) -> Result<(), Error> {
/// let mut watch = account.watch("limits");
/// loop {
///     let limits = watch.changed().await?;
///     println!("version {}: {:?}", limits.version, limits.json::<Vec<u64>>()?);
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it waits for nothing until it is read"]
pub struct Watch {
    account: Account,
    key: String,
    version: u64,
    wait: Duration,
}

#[derive(Serialize)]
struct WatchRequest<'a> {
    #[serde(rename = "ID")]
    key: &'a str,
    #[serde(rename = "Version")]
    version: u64,
    #[serde(rename = "Wait")]
    wait_s: u64,
}

impl Account {
    /// The changes of this key, of which the first is that it exists: see [`Watch::after`].
    pub fn watch(&self, key: impl Into<String>) -> Watch {
        Watch { account: self.clone(), key: key.into(), version: 0, wait: WAIT }
    }
}

impl Watch {
    /// Only changes from this version of the key on, which the caller knows. 0, the default: none is known, so the first
    /// change is told at once where the key exists, or when it is made.
    pub fn after(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// How long one request waits: 1 s to 300 s, in whole seconds; 45 s when not given. It changes nothing but how often a
    /// connection is seen to be alive.
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// The version that is known: the one of the last change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Waits for the next change: the key's new value, or that it is gone (version 0). Dropping the future loses nothing,
    /// and after an error the watch goes on where it was.
    ///
    /// # Errors
    /// [`Error`], for good or when it has not passed for as long as the policy says.
    pub async fn changed(&mut self) -> Result<ValueState, Error> {
        if self.wait.subsec_nanos() > 0 {
            return Err(Error::Invalid(format!("the wait {:?} is no whole number of seconds", self.wait)));
        }
        if self.wait.is_zero() {
            return Err(Error::Invalid("a watch that does not wait would ask without a pause".to_owned()));
        }
        let request = WatchRequest { key: &self.key, version: self.version, wait_s: self.wait.as_secs() };
        let body = body(&request)?;
        let mut retries = Retries::new(self.account.client.retry_policy());
        loop {
            retries.begin_wait(self.wait);
            match self.account.post(Route::Watch, body.clone(), self.wait).await {
                Ok(None) => retries.reset(),
                Ok(changed) => {
                    let change: ValueState = answered(changed)?;
                    self.version = change.version;
                    return Ok(change);
                }
                Err(error) => retries.pause(error).await?,
            }
        }
    }

    /// The changes as a stream. It ends after an error.
    #[must_use]
    pub fn stream(self) -> BoxStream<'static, Result<ValueState, Error>> {
        let changes = stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            let change = watch.changed().await;
            let next = change.is_ok().then_some(watch);
            Some((change, next))
        });
        changes.boxed()
    }
}
