//! Who holds a lock, as the clients together know it.

use crate::answers::Granted;
use anyhow::{Result, ensure};
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who holds one lock.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    held: Cell<bool>,
    handle: Cell<u64>,
}

impl Holder {
    /// Notes a grant.
    ///
    /// # Errors
    /// If the lock is held, the lease is over, or the handle is not higher than the last one.
    pub fn take(&self, granted: Granted) -> Result<()> {
        let Granted { lock, till, version } = granted;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ensure!(till > now.as_secs(), "the lease of {lock} ends at {till}, which is over");
        ensure!(lock == version, "handle {lock} was granted at revision {version}");
        ensure!(!self.held.replace(true), "TWO HOLDERS: {lock} was granted while {} held", self.handle.get());
        let last = self.handle.replace(lock);
        ensure!(lock > last, "handle {lock} was granted after {last}");
        Ok(())
    }

    /// Notes that the holder is about to release.
    pub fn release(&self) {
        self.held.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_holders_are_seen() {
        let grant = |lock| Granted { lock, till: u64::MAX, version: lock };
        let holder = Holder::default();
        holder.take(grant(5)).unwrap();
        assert!(holder.take(grant(6)).is_err());
        let holder = Holder::default();
        holder.take(grant(5)).unwrap();
        holder.release();
        assert!(holder.take(grant(5)).is_err());
        holder.release();
        assert!(holder.take(Granted { lock: 9, till: u64::MAX, version: 10 }).is_err());
    }
}
