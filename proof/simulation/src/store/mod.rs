//! A store that misbehaves by seed, within what the contract allows. All frontends of a run share one; each has
//! its own [`Handle`], which dies with it.

mod embedded;
mod handle;
mod reads;
mod shared;

pub use handle::Handle;

use crate::clock::Clock;
use crate::plan::{Mode, Plan};
use crate::random::Random;
use bytes::Bytes;
use dragon_contract::{BackendError, Result, Wakeups};
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use dragon_core::cell::{Cell, Kind};
use dragon_core::verdict::Rows;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Stored rows by name.
type Table = BTreeMap<Bytes, Bytes>;
/// Rows to write, in an order that is the same in every process.
type Writes = BTreeMap<Cell, Option<Bytes>>;
/// What was done so far, and how often.
pub type Counts = BTreeMap<&'static str, u64>;

/// The store.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    wakeups: Wakeups,
    plan: Plan,
    clock: Arc<Clock>,
    /// Rung when the embedded store has closed itself.
    closed: Notify,
}

#[derive(Debug)]
struct State {
    /// What a crash leaves, and what is read from outside batches.
    durable: Table,
    /// What the next batch of an embedded store sees.
    newest: Table,
    /// Batches of an embedded store that are not synced yet.
    unsynced: VecDeque<Unsynced>,
    last_number: u64,
    synced_number: u64,
    /// Until when the syncs that are under way take.
    syncing_till: Instant,
    /// A sync has failed: nothing goes until a restart.
    is_closed: bool,
    /// The database can't be reached.
    is_down: bool,
    /// The records of attempts that were committed.
    committed: BTreeSet<u64>,
    /// Attempts that were given up: they can't be committed any more.
    fenced: BTreeSet<u64>,
    latest_ms: UnixMs,
    random: Random,
    /// No trouble any more.
    is_calm: bool,
    counts: Counts,
}

#[derive(Debug)]
struct Unsynced {
    number: u64,
    writes: Writes,
}

/// Rows to decide on.
struct View<'a>(&'a Table);

impl Rows for View<'_> {
    type Error = BackendError;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>> {
        Ok(self.0.get(cell.as_bytes()).cloned())
    }
}

impl State {
    fn now_ms(&mut self, clock: &Clock) -> UnixMs {
        self.latest_ms = self.latest_ms.max(clock.now_ms());
        self.latest_ms
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Whether trouble of a kind comes now; it is counted.
    fn strikes(&mut self, per_mille: u64, what: &'static str) -> bool {
        let strikes = !self.is_calm && self.random.happens(per_mille);
        if strikes {
            self.count(what);
        }
        strikes
    }
}

fn write(table: &mut Table, writes: &Writes) {
    for (cell, row) in writes {
        match row {
            Some(row) => table.insert(cell.as_bytes().clone(), row.clone()),
            None => table.remove(cell.as_bytes()),
        };
    }
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(plan: &Plan, seed: u64, clock: Arc<Clock>) -> Arc<Self> {
        let state = State {
            durable: Table::new(),
            newest: Table::new(),
            unsynced: VecDeque::new(),
            last_number: 0,
            synced_number: 0,
            syncing_till: Instant::now(),
            is_closed: false,
            is_down: false,
            committed: BTreeSet::new(),
            fenced: BTreeSet::new(),
            latest_ms: 0,
            random: Random::new(seed, "store"),
            is_calm: false,
            counts: Counts::new(),
        };
        let (wakeups, closed) = (Wakeups::default(), Notify::new());
        Arc::new(Self { state: Mutex::new(state), wakeups, plan: plan.clone(), clock, closed })
    }

    /// Stops all trouble but the mistake that is built in.
    pub fn calm(&self) {
        let mut state = self.state.lock();
        (state.is_calm, state.is_down) = (true, false);
    }

    /// Whether the database can be reached from now on.
    pub fn set_down(&self, is_down: bool) {
        self.state.lock().is_down = is_down;
    }

    /// Counts something that was done to the whole.
    pub fn count(&self, what: &'static str) {
        self.state.lock().count(what);
    }

    /// What happened so far, by its kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.lock().counts.clone()
    }

    /// Waits until a failed sync has closed the store.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// The process around an embedded store has died: of what was not synced a part is on the disk, or nothing.
    /// What it wrote last of that part is what the next process finds.
    pub(crate) fn recover(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if self.plan.mode == Mode::Shared {
            return;
        }
        let kept =
            if state.random.happens(500) { 0 } else { state.random.below(state.unsynced.len() as u64 + 1) };
        for batch in state.unsynced.drain(..).take(kept as usize) {
            write(&mut state.durable, &batch.writes);
        }
        state.newest = state.durable.clone();
        state.synced_number = state.last_number;
        state.is_closed = false;
    }

    /// Why a call fails before anything is done, if it does.
    fn refusal(&self, state: &mut MutexGuard<'_, State>) -> Option<BackendError> {
        if state.is_closed {
            return Some(BackendError::Unavailable("closed after a failed sync".into()));
        }
        if state.is_down {
            return Some(BackendError::Unavailable("can't be reached".into()));
        }
        if state.strikes(self.plan.busy, "busy") {
            return Some(BackendError::Busy("too much is going on".into()));
        }
        let is_unavailable = state.strikes(self.plan.unavailable, "unavailable");
        is_unavailable.then(|| BackendError::Unavailable("a connection broke".into()))
    }

    /// How long one step takes.
    fn delay(&self) -> Duration {
        let mut state = self.state.lock();
        self.delay_of(&mut state)
    }

    fn delay_of(&self, state: &mut State) -> Duration {
        let ms_max = if state.is_calm { self.plan.delay_ms_max.min(5) } else { self.plan.delay_ms_max };
        state.random.time(ms_max)
    }

    async fn pause(&self) {
        let delay = self.delay();
        // Without a delay others get their turn all the same.
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(delay).await;
        }
    }

    /// What a batch writes, in order; the mistake of losing what stands beside an idempotency id is made here.
    fn sorted(&self, state: &mut State, writes: RowMap) -> Writes {
        let mut writes: Writes = writes.into_iter().collect();
        let is_buggy = self.plan.bug == Some(crate::Bug::IdempotencyWithoutWrites);
        let has_id = writes.keys().any(|cell| cell.kind() == Kind::Idempotency);
        if is_buggy && has_id && state.random.happens(200) {
            state.count("mistakes");
            writes.retain(|cell, _| matches!(cell.kind(), Kind::Meta | Kind::Idempotency));
        }
        writes
    }

    /// What reads outside batches see.
    fn visible<'a>(&self, state: &'a State) -> &'a Table {
        let is_hasty = self.plan.bug == Some(crate::Bug::AnswerBeforeSync);
        if is_hasty { &state.newest } else { &state.durable }
    }
}
