//! What watchers of a key are told, and when. Each value of a run has a number, and each watcher has to be
//! told of each of them.

use crate::peers::text::Value;
use anyhow::{Result, ensure};
use std::cell::{Cell, RefCell};
use std::time::Instant;
use tokio::sync::Notify;

/// The notices of one write, of all watchers together.
#[derive(Debug, Default)]
pub struct Notices {
    /// The write that they are of.
    round: Cell<u64>,
    wanted: Cell<usize>,
    times: RefCell<Vec<Instant>>,
    complete: Notify,
}

impl Notices {
    /// Forgets the last write and expects so many notices of this one.
    pub fn expect(&self, round: u64, watchers: usize) {
        self.round.set(round);
        self.wanted.set(watchers);
        self.times.borrow_mut().clear();
    }

    /// A watcher was told this value.
    ///
    /// # Errors
    /// If that is not the value that was written last.
    pub fn note(&self, value: &[u8]) -> Result<()> {
        let now = Instant::now();
        let told = Value::author(value)?.sequence;
        ensure!(told == self.round.get(), "told of write {told}, and write {} was last", self.round.get());
        let mut times = self.times.borrow_mut();
        times.push(now);
        let (told, wanted) = (times.len(), self.wanted.get());
        ensure!(told <= wanted, "{told} notices of one write came, for {wanted} watchers");
        if told == wanted {
            self.complete.notify_one();
        }
        Ok(())
    }

    /// How many have come.
    #[must_use]
    pub fn count(&self) -> usize {
        self.times.borrow().len()
    }

    /// Waits until all have come, and returns when each did.
    pub async fn all(&self) -> Vec<Instant> {
        while self.count() < self.wanted.get() {
            self.complete.notified().await;
        }
        self.times.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notices_are_counted() {
        let notices = Notices::default();
        let mut value = Value::new(0, 64);
        notices.expect(3, 2);
        assert!(notices.note(value.of(2)).is_err(), "of an older write");
        assert!(notices.note(b"nonsense").is_err());
        notices.note(value.of(3)).unwrap();
        assert_eq!(notices.count(), 1);
        notices.note(value.of(3)).unwrap();
        assert_eq!(notices.all().await.len(), 2);
        notices.expect(4, 1);
        notices.note(value.of(4)).unwrap();
        assert!(notices.note(value.of(4)).is_err(), "twice");
    }
}
