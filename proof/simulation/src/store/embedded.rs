//! Batches of a store within its frontend: decided when they come, on what the batch before has left; answered
//! when they are synced, in order.

use super::{Store, Unsynced, View, write};
use dragon_contract::{BackendError, BatchOutcome, CommitFuture, Result};
use dragon_core::batch::{Decided, Entry, decide_batch};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Store {
    /// Decides a batch at once; the future resolves with its sync.
    pub(super) fn commit_embedded(
        self: &Arc<Self>,
        is_alive: &Arc<AtomicBool>,
        batch: &[Entry],
    ) -> CommitFuture {
        let mut state = self.state.lock();
        if let Some(error) = self.refusal(&mut state) {
            drop(state);
            let store = Arc::clone(self);
            return async move { store.pause().await }.map(move |()| Err(error)).boxed();
        }
        let now_ms = state.now_ms(&self.clock);
        let Decided { verdicts, writes } = match decide_batch(batch, &mut View(&state.newest), now_ms) {
            Ok(decided) => decided,
            Err(error) => return async move { Err(error) }.boxed(),
        };
        let writes = self.sorted(&mut state, writes);
        write(&mut state.newest, &writes);
        state.last_number += 1;
        let number = state.last_number;
        state.unsynced.push_back(Unsynced { number, writes });
        let due = state.syncing_till.max(Instant::now() + self.delay_of(&mut state));
        state.syncing_till = due;
        drop(state);
        let (synced, outcome) = oneshot::channel();
        let (store, is_alive) = (Arc::clone(self), Arc::clone(is_alive));
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            // Nobody may be left who asks.
            synced.send(store.sync(number, &is_alive)).unwrap_or_default();
        });
        let answer = BatchOutcome { now_ms, verdicts };
        if self.plan.bug == Some(crate::Bug::AnswerBeforeSync) {
            return async move { Ok(answer) }.boxed();
        }
        async move {
            let lost = || Err(BackendError::OutcomeUnknown("the store has died".into()));
            outcome.await.unwrap_or_else(|_| lost()).map(|()| answer)
        }
        .boxed()
    }

    /// Makes everything up to this batch durable, and wakes those who wait for it.
    fn sync(&self, number: u64, is_alive: &AtomicBool) -> Result<()> {
        let mut state = self.state.lock();
        if !is_alive.load(Ordering::SeqCst) {
            return Err(BackendError::OutcomeUnknown("the store has died".into()));
        }
        if number <= state.synced_number {
            return Ok(());
        }
        if state.is_closed || state.strikes(self.plan.unknown, "failed syncs") {
            state.is_closed = true;
            self.closed.notify_one();
            return Err(BackendError::OutcomeUnknown("a sync failed".into()));
        }
        let mut changed = Vec::new();
        while state.unsynced.front().is_some_and(|batch| batch.number <= number) {
            let Some(batch) = state.unsynced.pop_front() else { break };
            write(&mut state.durable, &batch.writes);
            changed.extend(batch.writes.into_keys());
        }
        state.synced_number = number;
        drop(state);
        self.wakeups.wake(&changed);
        Ok(())
    }
}
