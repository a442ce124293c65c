//! The product's own locks, held by the servers in their own account: by whoever does what only one may do at a time.

use crate::system::{ask_system, damaged};
use dragon_core::request::Draft;
use dragon_core::verdict::Rejection;
use dragon_waiters::{Failure, Frontend};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a holder that gives no sign of life keeps its lock, in seconds.
pub(crate) const LEASE_S: u64 = 10;
/// How often it gives one.
const EXTEND_EVERY: Duration = Duration::from_millis(2_500);

/// A lock, kept for as long as this lives. What is dropped without [`SystemLock::release`] is free when its lease is over.
#[derive(Debug)]
pub struct SystemLock {
    frontend: Frontend,
    name: String,
    handle: u64,
    keeping: JoinHandle<()>,
    lost: CancellationToken,
}

impl Drop for SystemLock {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// What a request that took a lock was answered.
#[derive(Debug, Deserialize)]
struct Taken<T> {
    #[serde(rename = "Lock")]
    lock: Option<u64>,
    #[serde(flatten)]
    beside: T,
}

fn lock(name: &str) -> Draft {
    Draft { lock_id: Some(name.into()), lock_dur_s: Some(LEASE_S), ..Draft::default() }
}

impl SystemLock {
    /// Takes the lock, waiting so long for it, and does the rest of the request in the same moment. `None` when someone
    /// else holds it; then nothing was done.
    ///
    /// # Errors
    /// [`Failure`]; nothing was done then, unless the outcome is unknown.
    pub async fn take<T: DeserializeOwned>(
        frontend: &Frontend,
        name: String,
        wait_s: u64,
        beside: Draft,
    ) -> Result<Option<(Self, T)>, Failure> {
        let draft = Draft { lock_wait_s: Some(wait_s), lock_owner: beside.lock_owner.clone(), ..lock(&name) };
        let draft = Draft { kv_get: beside.kv_get, kv_set: beside.kv_set, atomic: beside.atomic, ..draft };
        let Taken { lock, beside } = match ask_system(frontend, draft).await {
            Err(Failure::Rejected(Rejection::LockTimeout { .. })) => return Ok(None),
            answer => answer?,
        };
        let handle = lock.ok_or_else(|| damaged("no lock was granted"))?;
        let lost = CancellationToken::new();
        let keeping = tokio::spawn(keep(frontend.clone(), name.clone(), handle, lost.clone()));
        Ok(Some((Self { frontend: frontend.clone(), name, handle, keeping, lost }, beside)))
    }

    /// Where it was taken.
    pub(crate) fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// The handle: no other holder ever has the same.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.handle
    }

    /// Does what only the holder may do.
    ///
    /// # Errors
    /// [`Failure`]; the lock may be lost.
    pub async fn ask(&self, draft: Draft) -> Result<(), Failure> {
        let (unlock_id, unlock) = (Some(self.name.clone()), Some(self.handle));
        let held = Draft { unlock_id, unlock, ..lock(&self.name) };
        let draft = Draft { kv_get: draft.kv_get, kv_set: draft.kv_set, atomic: draft.atomic, ..held };
        ask_system::<serde::de::IgnoredAny>(&self.frontend, draft).await.map(drop)
    }

    /// Gives it back, and does the rest of the request in the same moment, if it is still held.
    ///
    /// # Errors
    /// [`Failure`]; the lock may be lost.
    pub async fn release(self, beside: Draft) -> Result<(), Failure> {
        self.keeping.abort();
        let (unlock_id, unlock) = (Some(self.name.clone()), Some(self.handle));
        let draft = Draft { unlock_id, unlock, ..beside };
        ask_system::<serde::de::IgnoredAny>(&self.frontend, draft).await.map(drop)
    }

    /// Resolves when someone else may hold it.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

/// Extends a lock until it is lost: until it is said so, or the lease must be over because nothing was heard.
async fn keep(frontend: Frontend, name: String, handle: u64, lost: CancellationToken) {
    let mut extended = Instant::now();
    loop {
        tokio::time::sleep(EXTEND_EVERY).await;
        let held = Draft { unlock_id: Some(name.clone()), unlock: Some(handle), ..lock(&name) };
        let asked = Instant::now();
        let lease_end = extended + Duration::from_secs(LEASE_S);
        match timeout_at(lease_end, ask_system::<serde::de::IgnoredAny>(&frontend, held)).await {
            Ok(Ok(_)) => extended = asked,
            Ok(Err(error)) if asked < lease_end && !matches!(error, Failure::Rejected(_)) => {
                tracing::warn!(%error, name, "a lock of this server could not be extended; it is tried again");
            }
            _ => {
                tracing::warn!(name, "a lock of this server is lost: it was not extended in time");
                return lost.cancel();
            }
        }
    }
}
