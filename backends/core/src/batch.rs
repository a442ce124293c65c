//! Deciding a batch: one request after another over the same rows, a later one seeing what an
//! earlier one wrote. Stores call this between loading rows and writing them.

use crate::UnixMs;
use crate::cell::Cell;
use crate::decide::{Turn, decide};
use crate::request::Request;
use crate::verdict::{Rows, Verdict};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows by name. The order of iteration is never used for anything that a client could see; the seed of the
/// hash is the process's own, so that nobody can choose names that collide.
pub type RowMap = HashMap<Cell, Option<Bytes>, foldhash::fast::RandomState>;

/// One request in a batch.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request.
    pub request: Arc<Request>,
    /// Whether it may take its lock.
    pub turn: Turn,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Decided {
    /// One verdict per entry, in order.
    pub verdicts: Vec<Verdict>,
    /// The rows to write (`None` = delete), each once, as the last entry left it.
    pub writes: RowMap,
}

/// Decides the entries in order.
///
/// # Errors
/// Those of reading the rows: then nothing of the batch may be applied.
pub fn decide_batch<'a, R: Rows>(
    entries: impl IntoIterator<Item = &'a Entry>,
    rows: &mut R,
    now_ms: UnixMs,
) -> Result<Decided, R::Error> {
    let mut overlay = Overlay { rows, written: RowMap::default() };
    let mut verdicts = Vec::new();
    for entry in entries {
        let decision = decide(&entry.request, entry.turn, &mut overlay, now_ms)?;
        overlay.written.extend(decision.writes);
        verdicts.push(decision.verdict);
    }
    Ok(Decided { verdicts, writes: overlay.written })
}

struct Overlay<'a, R> {
    rows: &'a mut R,
    written: RowMap,
}

impl<R: Rows> Rows for Overlay<'_, R> {
    type Error = R::Error;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Self::Error> {
        match self.written.get(cell) {
            Some(row) => Ok(row.clone()),
            None => self.rows.row(cell),
        }
    }
}
