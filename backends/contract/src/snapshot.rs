//! Reading all of an account as of one moment.

use crate::Result;
use bytes::Bytes;
use dragon_core::cell::Cell;
use std::collections::VecDeque;

/// A stored row and its name.
pub type NamedRow = (Cell, Bytes);

/// About how many bytes of rows a [`Snapshot`] hands out at once.
pub const SNAPSHOT_STEP_BYTES: usize = 1 << 20;

/// All rows of one account as they were at one moment, read step by step. What is not wanted yet takes no
/// memory, save for what was written last, in stores that keep that in memory anyway. The writes of the account
/// go on meanwhile. Dropping it ends it.
#[async_trait::async_trait]
pub trait Snapshot: Send {
    /// The next rows in the order of their names, the account's own row first: about
    /// [`SNAPSHOT_STEP_BYTES`], or one row. Rows that have expired are among them until they are swept.
    /// Empty at the end.
    ///
    /// # Errors
    /// Never [`BackendError::OutcomeUnknown`](crate::BackendError::OutcomeUnknown). A store may give a snapshot
    /// up of which nothing was read for a minute. After an error there is no more to be had.
    async fn next(&mut self) -> Result<Vec<NamedRow>>;
}

/// A snapshot whose rows are all in memory.
#[derive(Debug)]
pub struct Gathered(VecDeque<NamedRow>);

impl Gathered {
    /// Of these rows, in the order of their names.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = NamedRow>) -> Self {
        Self(rows.into_iter().collect())
    }
}

#[async_trait::async_trait]
impl Snapshot for Gathered {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        let mut step = Step::default();
        while !step.is_full()
            && let Some((cell, row)) = self.0.pop_front()
        {
            step.push(cell, row);
        }
        Ok(step.rows)
    }
}

/// The rows of one step in the making.
#[derive(Debug, Default)]
pub struct Step {
    /// What it has so far.
    pub rows: Vec<NamedRow>,
    bytes: usize,
}

impl Step {
    /// Takes one more row.
    pub fn push(&mut self, cell: Cell, row: Bytes) {
        self.bytes += cell.as_bytes().len() + row.len();
        self.rows.push((cell, row));
    }

    /// Whether it has [`SNAPSHOT_STEP_BYTES`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= SNAPSHOT_STEP_BYTES
    }
}
