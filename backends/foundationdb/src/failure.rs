//! What goes wrong between the store and the cluster, told apart by codes, never by text.

use crate::saving::Unsaved;
use dragon_contract::BackendError;
use dragon_core::layout::Corrupt;
use foundationdb::{FdbError, TransactionCommitError};
use std::path::PathBuf;

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is of something else.
    #[error("it does not begin with fdb:")]
    Scheme,
    /// A parameter that nobody knows.
    #[error("there is no parameter {0:?}, only prefix=NAME")]
    Parameter(String),
    /// The prefix can't be used.
    #[error("the prefix {0:?} must be 1 to 64 of the characters A-Z a-z 0-9 _ . - /")]
    Prefix(String),
}

/// Why a store can't be opened, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The client library does not start.
    #[error("FoundationDB's client can't be used: {0}")]
    Client(FdbError),
    /// The cluster's file can't be used.
    #[error("the cluster file {} can't be used: {error}", file.display())]
    ClusterFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: FdbError,
    },
    /// The cluster can't be reached, or does not do what is asked of it at present.
    #[error("the cluster can't be used: {0}")]
    Unavailable(String),
    /// The data was written by a newer version of this program.
    #[error(
        "the data under this prefix is of format {format}, of a newer version of this program: use that one, or another prefix"
    )]
    Newer {
        /// The format.
        format: u32,
    },
    /// What lies under the prefix is something else.
    #[error("what lies under this prefix was not written by this program: use another prefix")]
    Foreign,
}

impl ConnectError {
    /// Whether it may get better by itself.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(BackendError::from(failure).to_string())
    }
}

/// Why a piece of work ended before its commit: nothing of it was applied.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Others were in the way: the same again may succeed.
    Conflict(String),
    /// Another frontend has claimed the lane.
    NotOurTurn,
    /// So many requests do not fit into a transaction.
    TooLarge(usize),
    /// Snapshots need these rows as they are.
    Unsaved(Vec<Unsaved>),
    /// The cluster can't be reached, or refuses to work.
    Unavailable(String),
    /// Trying again would not help.
    Final(BackendError),
}

/// Of an error before a commit, or of a commit that certainly did not happen.
impl From<FdbError> for Failure {
    fn from(error: FdbError) -> Self {
        if error.is_retryable() {
            Self::Conflict(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

impl From<TransactionCommitError> for Failure {
    fn from(error: TransactionCommitError) -> Self {
        FdbError::from(error).into()
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Final(error)
    }
}

impl From<Corrupt> for Failure {
    fn from(error: Corrupt) -> Self {
        Self::Final(error.into())
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict(reason) => Self::Busy(reason),
            Failure::NotOurTurn => Self::Busy("another frontend has claimed the lane".into()),
            Failure::Unsaved(_) => Self::Busy("a snapshot needs what the request changes".into()),
            Failure::TooLarge(_) => Self::Unavailable("the request does not fit into a transaction".into()),
            Failure::Unavailable(reason) => Self::Unavailable(reason),
            Failure::Final(error) => error,
        }
    }
}

/// The transaction has more than 10 MB.
pub(crate) const TRANSACTION_TOO_LARGE: i32 = 2101;
/// Too many watches on this connection.
pub(crate) const TOO_MANY_WATCHES: i32 = 1032;

/// Whether a commit that ended with this error has certainly not happened. Of a timeout (1031) or a lost
/// connection nobody knows; of what the client itself refused, and of a conflict, everybody.
pub(crate) fn is_certainly_not_committed(error: FdbError) -> bool {
    const DATABASE_LOCKED: i32 = 1038;
    const OF_THE_CLIENT: std::ops::Range<i32> = 2000..3000;
    error.is_retryable_not_committed()
        || error.code() == DATABASE_LOCKED
        || OF_THE_CLIENT.contains(&error.code())
}

pub(crate) fn too_long() -> Failure {
    Failure::Unavailable("the cluster takes too long".into())
}
