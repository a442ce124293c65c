//! The [`Backend`] trait, documented to the last promise.

use crate::Snapshot;
use bytes::Bytes;
use dragon_core::UnixMs;
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::hash::fnv1a;
use dragon_core::layout::Corrupt;
use dragon_core::limits::{ANSWER_BYTES_MAX, OPERATIONS_MAX};
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Verdict;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// What a store may answer instead of doing its work. Refusals of a request are not errors: they
/// are verdicts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// Nothing was applied; too much is going on. Safe to send again.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// Nothing was applied; the store cannot be reached or has stopped. Safe to send again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store failed at the commit and it could not be settled whether the batch was applied.
    #[error("whether the batch was committed is not known: {0}")]
    OutcomeUnknown(String),
    /// Nothing was applied; stored bytes are damaged, or of a newer version of this program.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

impl From<Corrupt> for BackendError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt.to_string())
    }
}

/// A store's answer.
pub type Result<T> = std::result::Result<T, BackendError>;

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// The store's time at which the batch was decided.
    pub now_ms: UnixMs,
    /// One verdict for each entry that was decided, in order; fewer than there are entries where the store
    /// took only the first ones.
    pub verdicts: Vec<Verdict>,
}

/// The future of [`Backend::commit`]. It does not borrow the store. The commit goes its way whether the
/// future is polled, or dropped.
pub type CommitFuture = BoxFuture<'static, Result<BatchOutcome>>;

/// Rows as of one moment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The store's time when they were read.
    pub now_ms: UnixMs,
    /// One per cell asked for, in order; `None` = no such row. Shorter than what was asked for where
    /// the rows before are larger than [`LOAD_BYTES_MAX`] together.
    pub rows: Vec<Option<Bytes>>,
}

/// From how many bytes on a load may be cut short: more than the largest answer, with the rows' own
/// overhead, so that what is cut could not have been answered anyway.
pub const LOAD_BYTES_MAX: usize = ANSWER_BYTES_MAX + OPERATIONS_MAX * 64;

impl Loaded {
    /// Whether every cell asked for was read.
    #[must_use]
    pub fn is_whole(&self, asked: usize) -> bool {
        self.rows.len() == asked
    }
}

/// A page of accounts, in order.
#[derive(Clone, Debug, Default)]
pub struct AccountsPage {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// A store in good order says so with this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// The store's time.
    pub now_ms: UnixMs,
}

/// A store of cells with durable, atomic, ordered batches.
///
/// Rules about what a request means are in `dragon-core` and nowhere else: a store loads rows,
/// calls [`decide_batch`](dragon_core::batch::decide_batch), and writes what that returns.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Commits a batch: loads the cells that its entries name, decides them in order (a later one sees
    /// the earlier ones' writes; a refused one leaves none), writes all changes in one storage
    /// transaction, makes them durable, wakes [`changed`](Self::changed), and returns one verdict per
    /// entry.
    ///
    /// A store whose transactions are bounded may take only the first entries, at least one: nothing of the
    /// others was decided, and they are to be committed again, before anything that came after them. Only one
    /// with a [`pipeline_depth`](Self::pipeline_depth) of 1 may do so.
    ///
    /// Batches apply in the order of the calls of this method, not of the first polls of the futures:
    /// a store does what the order depends on before it returns the future. Up to
    /// [`pipeline_depth`](Self::pipeline_depth) commits of one lane may be in flight at once.
    ///
    /// The future resolves when everything that any verdict of the batch has seen is durable: refusals
    /// and reads too, since a crash must not make a lie of them. On a conflict with another frontend
    /// the store decides the batch again: deciding is pure. All entries belong to one lane.
    ///
    /// # Errors
    /// All entries share the error. After any but [`BackendError::OutcomeUnknown`], nothing of the
    /// batch was applied, nor will it be.
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture;

    /// Waits for the lane's turn, where frontends take turns: before the batch is gathered, so that what
    /// arrives meanwhile is in it. One [`commit`](Self::commit) to that lane follows at once, or
    /// [`pass`](Self::pass) where nothing is left to commit. A store is free to answer at once and wait in
    /// `commit` instead; what fails here is told there.
    async fn turn(&self, _lane: usize) {}

    /// Gives an unused [`turn`](Self::turn) back.
    fn pass(&self, _lane: usize) {}

    /// Reads rows at one consistent, durable moment, which is not before any commit that was answered
    /// before the call. Cut short, perhaps, after [`LOAD_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Never [`BackendError::OutcomeUnknown`].
    async fn load(&self, cells: &[Cell]) -> Result<Loaded>;

    /// Resolves once the stored row's stamp (the revision of its last write; 0 = no row) may differ
    /// from `seen`: at once when it already does. Checking and arming are one atomic step. Waking for
    /// nothing is allowed, sleeping over a change never. Expiry is no change of the row: who waits
    /// for it sets a timer. Dropping the future cancels it.
    ///
    /// # Errors
    /// When the row can't be read; the caller looks again later.
    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()>;

    /// Reads one page of a name space at one consistent, durable moment.
    ///
    /// # Errors
    /// Never [`BackendError::OutcomeUnknown`].
    async fn scan(&self, query: &Query) -> Result<Page>;

    /// The accounts after the given one (from the first, when `None`), in order.
    ///
    /// # Errors
    /// Never [`BackendError::OutcomeUnknown`].
    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage>;

    /// Begins to read all rows of an account as of one durable moment, which is not before any commit that was
    /// answered before the call. An account that is not there has none.
    ///
    /// # Errors
    /// Never [`BackendError::OutcomeUnknown`]. [`BackendError::Busy`] when too many are under way.
    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>>;

    /// How many bytes the account's rows have, names included, at some moment after the call. Exact for small accounts; of
    /// those of more than some megabytes a store may give what it estimates. A store that can count for less than reading
    /// everything does so.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    async fn stored_bytes(&self, account: &Account) -> Result<u64> {
        let mut snapshot = self.snapshot(account).await?;
        let mut bytes = 0;
        loop {
            let rows = snapshot.next().await?;
            if rows.is_empty() {
                return Ok(bytes);
            }
            bytes += rows.iter().map(|(cell, row)| cell.as_bytes().len() + row.len()).sum::<usize>() as u64;
        }
    }

    /// Deletes up to `limit` rows that have expired by the store's clock (locks a day later, so that
    /// the next holder is told), and returns how many. Ordered with the batches: a row that was
    /// written anew meanwhile stays.
    ///
    /// # Errors
    /// The rows that were not deleted are found again next time.
    async fn sweep(&self, limit: usize) -> Result<usize>;

    /// Whether the store can do its work now.
    ///
    /// # Errors
    /// Why it can't.
    async fn health(&self) -> Result<Health>;

    /// How many lanes commit side by side. An account belongs to one lane for good.
    fn lanes(&self) -> usize {
        1
    }

    /// How many commits of one lane may be in flight.
    fn pipeline_depth(&self) -> usize {
        1
    }

    /// Whether other frontends commit to the same store at present; it may change at any time. Where they
    /// do, a lock does not go from waiter to waiter of one frontend for long. Asked at every grant and
    /// release of a lock, so it answers from memory. Too late an answer costs fairness, or a few
    /// milliseconds, and nothing else.
    fn is_shared(&self) -> bool {
        false
    }

    /// Finishes what is under way and gives the store up, so that the next open is quick.
    async fn close(&self) {}
}

/// The cell of a stored name.
///
/// # Errors
/// [`BackendError::Corrupt`] when no cell has that name.
pub fn stored_cell(name: impl Into<Bytes>) -> Result<Cell> {
    let name = name.into();
    let unnamed = || BackendError::Corrupt(format!("a stored name is no cell's: {}", name.escape_ascii()));
    Cell::from_bytes(name.clone()).ok_or_else(unnamed)
}

/// The number of an account's lane, the same on every frontend.
#[must_use]
pub fn lane_of(account: &str, lanes: usize) -> usize {
    (fnv1a(account.as_bytes()) % lanes as u64) as usize
}

/// Rows that were loaded up front, to decide on.
#[derive(Debug, Default)]
pub struct RowsRead(pub dragon_core::batch::RowMap);

impl RowsRead {
    /// How many of the first entries have all the rows that they name.
    #[must_use]
    pub fn whole_entries(&self, batch: &[Entry]) -> usize {
        let is_whole = |entry: &&Entry| entry.request.reads().all(|cell| self.0.contains_key(cell));
        batch.iter().take_while(is_whole).count()
    }
}

/// Why rows that were loaded up front can't be decided on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RowsReadError {
    /// This cell is needed too.
    #[error("{0:?} was not loaded")]
    Missing(Cell),
    /// One of them is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl From<RowsReadError> for BackendError {
    fn from(error: RowsReadError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl dragon_core::verdict::Rows for RowsRead {
    type Error = RowsReadError;

    fn row(&mut self, cell: &Cell) -> std::result::Result<Option<Bytes>, RowsReadError> {
        self.0.get(cell).cloned().ok_or_else(|| RowsReadError::Missing(cell.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_keeps_its_lane() {
        // Published values of FNV-1a: "a" and "foobar".
        for (name, hash) in [("a", 0xaf63_dc4c_8601_ec8c_u64), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(lane_of(name, 1 << 32), (hash & 0xffff_ffff) as usize);
        }
    }
}
