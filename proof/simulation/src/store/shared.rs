//! Batches of a database that several frontends share: rows are read at one moment and written at a later one,
//! if they are still the same. A connection may break at the commit.

use super::{State, Store, View, Writes, write};
use crate::Bug;
use bytes::Bytes;
use dragon_contract::{BackendError, BatchOutcome, CommitFuture, Result};
use dragon_core::batch::{Decided, Entry, decide_batch};
use dragon_core::cell::Cell;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// How often a batch is decided again before its frontend gives up.
const ATTEMPTS_MAX: usize = 30;

/// One attempt to commit a batch.
#[derive(Clone, Debug)]
struct Attempt {
    number: u64,
    /// The accounts' own rows as they were read: any write changes them.
    guards: BTreeMap<Cell, Option<Bytes>>,
    writes: Writes,
    takes_lock: bool,
}

/// What a frontend learns at the commit.
enum Fate {
    Committed,
    Conflict,
    /// The connection broke.
    Unknown,
}

impl Store {
    /// Commits a batch in a task of its own: it goes its way whether anybody waits for it.
    pub(super) fn commit_shared(
        self: &Arc<Self>,
        is_alive: &Arc<AtomicBool>,
        batch: Arc<[Entry]>,
    ) -> CommitFuture {
        let (done, outcome) = oneshot::channel();
        let (store, is_alive) = (Arc::clone(self), Arc::clone(is_alive));
        tokio::spawn(async move {
            let outcome = store.attempt_commits(&is_alive, &batch).await;
            // Nobody may be left who asks.
            done.send(outcome).unwrap_or_default();
        });
        let lost = |_| Err(BackendError::OutcomeUnknown("the task has ended".into()));
        async move { outcome.await.unwrap_or_else(lost) }.boxed()
    }

    async fn attempt_commits(
        self: &Arc<Self>,
        is_alive: &AtomicBool,
        batch: &[Entry],
    ) -> Result<BatchOutcome> {
        let taken = {
            let mut state = self.state.lock();
            if let Some(error) = self.refusal(&mut state) {
                return Err(error);
            }
            let is_partial = batch.len() > 1 && state.strikes(self.plan.partial, "partial batches");
            if is_partial { state.random.between(1, batch.len() as u64) as usize } else { batch.len() }
        };
        for _ in 0..ATTEMPTS_MAX {
            self.pause().await;
            let (attempt, outcome) = self.decide(&batch[..taken])?;
            self.pause().await;
            if attempt.writes.is_empty() {
                return Ok(outcome);
            }
            // What a dying frontend sent last may still arrive.
            if !is_alive.load(Ordering::SeqCst) && self.state.lock().random.happens(500) {
                return Err(BackendError::Unavailable("the frontend has died".into()));
            }
            match self.land(&attempt) {
                Fate::Committed => {
                    self.pause().await;
                    return Ok(outcome);
                }
                Fate::Conflict => {}
                Fate::Unknown => {
                    if self.is_committed(&attempt).await? {
                        return Ok(outcome);
                    }
                }
            }
        }
        Err(BackendError::Busy("others were faster each time".into()))
    }

    /// Reads and decides, as of one moment.
    fn decide(&self, batch: &[Entry]) -> Result<(Attempt, BatchOutcome)> {
        let mut state = self.state.lock();
        if state.is_down {
            return Err(BackendError::Unavailable("can't be reached".into()));
        }
        let now_ms = state.now_ms(&self.clock);
        let Decided { verdicts, writes } = decide_batch(batch, &mut View(&state.durable), now_ms)?;
        let metas = batch.iter().map(|entry| entry.request.meta());
        let guards = metas.map(|meta| (meta.clone(), state.durable.get(meta.as_bytes()).cloned())).collect();
        let writes = self.sorted(&mut state, writes);
        state.last_number += 1;
        let takes_lock = batch.iter().any(|entry| entry.request.wanted().is_some());
        let attempt = Attempt { number: state.last_number, guards, writes, takes_lock };
        Ok((attempt, BatchOutcome { now_ms, verdicts }))
    }

    /// The moment of the commit. Where the connection breaks, it had been committed, never will be, or will be
    /// later, unless it is fenced before.
    fn land(self: &Arc<Self>, attempt: &Attempt) -> Fate {
        let mut state = self.state.lock();
        let breaks = state.is_down || state.strikes(self.plan.unknown, "broken commits");
        if !breaks {
            return if self.write(&mut state, attempt) { Fate::Committed } else { Fate::Conflict };
        }
        match state.random.below(3) {
            0 => drop(self.write(&mut state, attempt)),
            1 => {}
            _ => {
                let (store, attempt) = (Arc::clone(self), attempt.clone());
                let late = state.random.time(2 * self.plan.delay_ms_max + 10);
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    store.write(&mut store.state.lock(), &attempt);
                });
            }
        }
        Fate::Unknown
    }

    /// Writes it, unless it was given up or what was read has changed. Whether it was written.
    fn write(&self, state: &mut State, attempt: &Attempt) -> bool {
        let is_same =
            |(meta, row): (&Cell, &Option<Bytes>)| state.durable.get(meta.as_bytes()) == row.as_ref();
        let is_stale = !attempt.guards.iter().all(is_same);
        let is_blind = self.plan.bug == Some(Bug::LockOnStaleRead) && attempt.takes_lock;
        if state.fenced.contains(&attempt.number) || (is_stale && !is_blind) {
            return false;
        }
        if is_stale {
            state.count("mistakes");
        }
        write(&mut state.durable, &attempt.writes);
        state.committed.insert(attempt.number);
        self.wakeups.wake(attempt.writes.keys());
        true
    }

    /// Looks for the record of an attempt; where there is none, it sees to it that there never will be.
    ///
    /// # Errors
    /// When that can't be settled.
    async fn is_committed(&self, attempt: &Attempt) -> Result<bool> {
        if self.plan.bug == Some(Bug::BlindRetry) {
            self.count("mistakes");
            return Ok(false);
        }
        self.pause().await;
        let mut state = self.state.lock();
        if state.is_down || state.strikes(self.plan.unsettled, "unsettled commits") {
            return Err(BackendError::OutcomeUnknown("the connection broke at the commit".into()));
        }
        if state.committed.contains(&attempt.number) {
            return Ok(true);
        }
        state.fenced.insert(attempt.number);
        Ok(false)
    }
}
