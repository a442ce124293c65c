//! What becomes of a request: applied, refused, or kept waiting.

use crate::UnixMs;
use crate::cell::Cell;
use crate::layout::Corrupt;
use bytes::Bytes;

/// The outcome of one request in its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it happened.
    Applied(Applied),
    /// None of it happened.
    Rejected(Rejection),
    /// None of it happened yet: another holds the lock.
    Blocked(Blocked),
}

/// A request that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer's JSON.
    pub answer: Bytes,
    /// The lock that it took, if it took one. (An extended one is not taken.)
    pub granted: Option<Granted>,
}

/// A lock that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The fencing token.
    pub handle: u64,
    /// When the lease ends.
    pub till_ms: UnixMs,
}

/// A lock that another holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The lock.
    pub cell: Cell,
    /// The stamp of its row when it was seen.
    pub stamp: u64,
    /// When the lease ends; in the past when the lock is free but others came first.
    pub till_ms: UnixMs,
    /// The fencing token of whoever holds it; 0 when the lock is free.
    pub handle: u64,
    /// Who holds it, when it was said.
    pub owner: Bytes,
}

/// Why a request was refused. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// An idempotency id was used before.
    DuplicateRequest {
        /// The id.
        id: String,
        /// The answer that the first request got, unless it was too large to keep.
        response: Option<Bytes>,
        /// Whether the first request was the same as this one.
        same_request: bool,
    },
    /// The lock was held for all of the wait.
    LockTimeout {
        /// When the present lease ends.
        till_ms: UnixMs,
        /// Who holds it, when it was said.
        owner: Bytes,
    },
    /// The handle does not hold the lock.
    NotLocked {
        /// The lock.
        id: String,
    },
    /// `IfVersion` did not hold.
    VersionMismatch {
        /// The key.
        key: String,
        /// Its version.
        version: u64,
    },
    /// `IfEq` did not hold.
    ValueMismatch {
        /// The counter.
        key: String,
        /// Its value.
        value: i64,
    },
    /// A counter would leave the signed 64-bit range.
    CounterOverflow {
        /// The counter.
        key: String,
    },
    /// An import is putting other content into the account's place.
    Replacing,
    /// The answer would be larger than allowed.
    AnswerTooLarge {
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

/// Where rows are read from while deciding: rows as of the moment before the batch.
pub trait Rows {
    /// What goes wrong while reading.
    type Error: From<Corrupt>;

    /// The row of a cell, if it has one.
    ///
    /// # Errors
    /// The store's own.
    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Self::Error>;
}
