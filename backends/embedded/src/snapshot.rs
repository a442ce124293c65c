//! An account as of one moment: a connection of its own whose transaction stays at that moment, and the rows
//! that only the layers had then. SQLite's log can't begin anew meanwhile, so closing the store ends what is
//! under way.

use crate::database::Reader;
use crate::durable::merge;
use crate::progress::Progress;
use crate::store::blocking;
use bytes::Bytes;
use dragon_contract::{BackendError, NamedRow, Result, Snapshot, Step};
use dragon_core::cell::Cell;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Weak};

/// Snapshots at once: each has a connection, and holds what the layers had.
const SNAPSHOTS_MAX: usize = 16;

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
        all.retain(|snapshot| snapshot.strong_count() > 0);
        if all.len() < SNAPSHOTS_MAX {
            return Ok(());
        }
        Err(BackendError::Busy(format!("{SNAPSHOTS_MAX} accounts are being read as a whole already")))
    }

    pub(crate) fn begin(&self, rows: AccountRows, progress: Arc<Progress>) -> EmbeddedSnapshot {
        let rows = Arc::new(Mutex::new(Some(rows)));
        self.0.lock().push(Arc::downgrade(&rows));
        EmbeddedSnapshot { rows, progress }
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        for snapshot in self.0.lock().drain(..).filter_map(|snapshot| snapshot.upgrade()) {
            drop(snapshot.lock().take());
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct EmbeddedSnapshot {
    rows: Arc<Shared>,
    progress: Arc<Progress>,
}

#[async_trait::async_trait]
impl Snapshot for EmbeddedSnapshot {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        let (rows, progress) = (Arc::clone(&self.rows), Arc::clone(&self.progress));
        blocking(move || {
            let closed = || BackendError::Unavailable("the store was closed".into());
            let next = rows.lock().as_mut().ok_or_else(closed)?.next();
            next.inspect_err(|error| progress.stop_if_corrupt(error))
        })
        .await
    }
}
