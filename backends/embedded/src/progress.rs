//! What the store's threads tell everyone else.

use dragon_contract::{BackendError, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64};

#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The number of the last durable batch.
    pub(crate) durable: AtomicU64,
    /// Why the store has stopped, once it has. It stays stopped until a restart: what the disk holds
    /// after a failed sync can't be known.
    pub(crate) stopped: OnceLock<String>,
    /// The store is being given up.
    pub(crate) closing: AtomicBool,
}

impl Progress {
    /// Refuses work once the store has stopped.
    pub(crate) fn check(&self) -> Result<()> {
        match self.stopped.get() {
            None => Ok(()),
            Some(reason) => Err(BackendError::Unavailable(format!(
                "the store stopped after a failure and needs a restart: {reason}"
            ))),
        }
    }

    pub(crate) fn stop(&self, reason: &str) {
        if self.stopped.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the store stops until a restart");
        }
    }

    /// A store that has shown damage takes no more writes, which could bury it.
    pub(crate) fn stop_if_corrupt(&self, error: &BackendError) {
        if let BackendError::Corrupt(reason) = error {
            self.stop(reason);
        }
    }
}
