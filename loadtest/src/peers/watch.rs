//! `watch-one`, `watch-many`: what watchers of keys are told, and when. Each value of a run has a number, and
//! each watcher has to be told of each of them.

use crate::drive::{Begin, Measured};
use crate::latency::Latencies;
use crate::outcome::Outcome;
use crate::peers::client::{Client as _, Peer};
use crate::peers::text::Value;
use crate::peers::work::Run;
use crate::plan::Parameters;
use crate::scenarios::watch::{Round, outcome};
use anyhow::{Result, bail, ensure};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Files that this process opens besides the connections of watchers.
const OTHER_FILES: u64 = 200;
const WAKE_TIME_MAX: Duration = Duration::from_secs(60);

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

impl<P: Peer> Run<'_, P> {
    /// Writes keys that so many watch, again and again; all of them at once.
    ///
    /// # Errors
    /// For a wrong notice, or a watcher that is not told.
    pub async fn watch(&self) -> Result<Outcome> {
        let Parameters { connections: watchers, keys, wakes, value_bytes, .. } = *self.parameters;
        let wanted = watchers as u64 + OTHER_FILES;
        let files = rlimit::increase_nofile_limit(wanted)?;
        ensure!(files >= wanted, "{wanted} files have to be open at once and {files} may (see ulimit -n)");
        let (notices, mut name) = (Rc::new(Notices::default()), self.key_name());
        let keys: Vec<String> = (0..keys).map(|key| name.of(key).to_owned()).collect();
        let (mut writer, mut value) = (self.client().await?, Value::new(0, value_bytes));
        let mut tasks = self.peer.watch(&keys, watchers, &notices).await?;
        let processes = self.peer.process().processes();
        let (mut total, mut rounds) = (Measured::default(), Vec::with_capacity(wakes));
        // The first round warms up.
        for round in 0..=wakes as u64 {
            notices.expect(round, watchers);
            let begin = Begin::now(&processes)?;
            writer.publish(&keys, value.of(round)).await?;
            let answered = Instant::now();
            let mut times = tokio::select! {
                times = notices.all() => times,
                ended = tasks.join_next() => bail!("a watcher ended: {ended:?}"),
                () = tokio::time::sleep(WAKE_TIME_MAX) => {
                    bail!("only {} of {watchers} were told in {WAKE_TIME_MAX:?}", notices.count())
                }
            };
            if round > 0 {
                let measured = begin.end(&processes)?;
                let told = times.iter().map(|told| told.saturating_duration_since(answered));
                total.add_round(measured, &told.collect::<Latencies>());
                rounds.push(Round::of(&mut times, begin.at(), answered));
            }
        }
        Ok(outcome(total, &rounds))
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
