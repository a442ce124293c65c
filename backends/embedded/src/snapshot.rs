//! An account as of one moment: a connection of its own whose transaction stays at that moment, and the rows
//! that only the layers had then. SQLite's log can't begin anew meanwhile, so closing the store ends what is
//! under way.

use crate::database::Reader;
use crate::durable::merge;
use crate::progress::Progress;
use bytes::Bytes;
use dragon_contract::{BackendError, NamedRow, Result, Snapshot, Step, spawn_aside};
use dragon_core::cell::Cell;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// Snapshots at once: each has a connection and a thread, and holds what the layers had.
const SNAPSHOTS_MAX: usize = 16;
/// What the threads that read them are called.
const THREAD: &str = "dragon-snapshot";

/// The rows of an account that were not handed out yet.
#[derive(Debug)]
pub(crate) struct AccountRows {
    reader: Reader,
    /// The account's names from the next one on.
    names: Range<Vec<u8>>,
    /// What the layers had.
    layered: VecDeque<(Cell, Option<Bytes>)>,
}

impl AccountRows {
    /// The reader stands at the moment at which the layers had these rows.
    pub(crate) fn new(reader: Reader, names: Range<Vec<u8>>, layered: Vec<(Cell, Option<Bytes>)>) -> Self {
        Self { reader, names, layered: layered.into() }
    }

    fn next(&mut self) -> Result<Vec<NamedRow>> {
        let mut step = Step::default();
        let layered = (self.layered.iter().cloned(), false);
        merge(&self.reader, &self.names, layered, |cell, row| {
            step.push(cell, row);
            Ok(if step.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if let Some((last, _)) = step.rows.last() {
            self.names.start = [last.as_bytes().as_ref(), &[0]].concat();
            self.layered.drain(..self.layered.partition_point(|(cell, _)| cell <= last));
        }
        Ok(step.rows)
    }
}

/// Empty once the store is closed.
type Shared = Mutex<Option<AccountRows>>;

/// The snapshots under way.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(Mutex<Vec<Weak<Shared>>>);

impl Snapshots {
    /// Fails when too many are under way.
    pub(crate) fn check(&self) -> Result<()> {
        let mut all = self.0.lock();
        // One that was dropped may be in its thread's hands still, until that gets its turn.
        let is_used = |rows: Arc<Shared>| rows.try_lock().is_none_or(|rows| rows.is_some());
        all.retain(|snapshot| snapshot.upgrade().is_some_and(is_used));
        if all.len() < SNAPSHOTS_MAX {
            return Ok(());
        }
        Err(BackendError::Busy(format!("{SNAPSHOTS_MAX} accounts are being read as a whole already")))
    }

    /// Fails when no thread can be started.
    pub(crate) fn begin(&self, rows: AccountRows, progress: Arc<Progress>) -> Result<EmbeddedSnapshot> {
        let rows = Arc::new(Mutex::new(Some(rows)));
        self.0.lock().push(Arc::downgrade(&rows));
        let kept = Arc::clone(&rows);
        let (asks, asked) = channel::<Ask>();
        let reading = move || {
            for ask in asked {
                let closed = || BackendError::Unavailable("the store was closed".into());
                let next = rows.lock().as_mut().ok_or_else(closed).and_then(AccountRows::next);
                // Whoever asked may be gone.
                drop(ask.send(next.inspect_err(|error| progress.stop_if_corrupt(error))));
            }
        };
        let no_thread = |error| BackendError::Busy(format!("no thread can be started: {error}"));
        spawn_aside(THREAD, reading).map_err(no_thread)?;
        Ok(EmbeddedSnapshot { asks, rows: kept })
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        for snapshot in self.0.lock().drain(..).filter_map(|snapshot| snapshot.upgrade()) {
            drop(snapshot.lock().take());
        }
    }
}

/// Where the next rows are sent.
type Ask = oneshot::Sender<Result<Vec<NamedRow>>>;

/// One of them. It is read on a thread that gives way: reading a row of a megabyte takes a millisecond or two, for which those
/// that answer requests would have to wait.
#[derive(Debug)]
pub(crate) struct EmbeddedSnapshot {
    asks: Sender<Ask>,
    rows: Arc<Shared>,
}

impl Drop for EmbeddedSnapshot {
    /// Its place is free at once, unless it is being read at this moment.
    fn drop(&mut self) {
        if let Some(mut rows) = self.rows.try_lock() {
            drop(rows.take());
        }
    }
}

#[async_trait::async_trait]
impl Snapshot for EmbeddedSnapshot {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        let ended = || BackendError::Unavailable("a thread of the store has ended".into());
        let (ask, next) = oneshot::channel();
        self.asks.send(ask).map_err(|_| ended())?;
        next.await.map_err(|_| ended())?
    }
}
