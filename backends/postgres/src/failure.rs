//! What goes wrong between the store and the database, told apart by codes, never by text.

use dragon_contract::BackendError;
use sqlx::Error;

/// What is wrong with an address. It never shows the address itself, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL.
    #[error("it can't be read as postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME: {0}")]
    Url(#[from] url::ParseError),
    /// It is a URL of something else.
    #[error("it does not begin with postgres://")]
    Scheme,
    /// A parameter that nobody knows.
    #[error("there is no parameter {0:?}")]
    Parameter(String),
    /// A parameter with a value that it can't have.
    #[error("{0}")]
    Options(#[source] Error),
    /// The schema's name can't be used.
    #[error(
        "the schema's name {0:?} must be 1 to 40 of the characters a-z 0-9 _, and not begin with a digit or pg_"
    )]
    Schema(String),
}

/// Why a store can't be opened, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The database can't be reached, or did not let the store make its tables.
    #[error("the database can't be used: {0}")]
    Database(#[from] Error),
    /// The database can't do what is asked of it at present.
    #[error("{0}")]
    Unavailable(String),
    /// The database was written by a newer version of this program.
    #[error(
        "the schema is of a newer version of this program (its migration {version}): use that one, or another schema"
    )]
    Newer {
        /// The migration that this program does not know.
        version: i64,
    },
    /// The schema is not what the migrations make.
    #[error("the schema can't be used: {0}")]
    Schema(String),
    /// The server is too old.
    #[error("Postgres {0} is too old: 13 is needed, or newer")]
    OldServer(String),
    /// A pooler hands each transaction to another session.
    #[error(
        "there is a pooler in transaction mode in between: advisory locks, settings and LISTEN need sessions of their own. Let it pool sessions, or go past it"
    )]
    Pooled,
}

impl ConnectError {
    /// Whether it may get better by itself: the database is not up yet, or has no room.
    pub(crate) fn may_pass(&self) -> bool {
        let error = match self {
            Self::Database(error) => error,
            other => return matches!(other, Self::Unavailable(_)),
        };
        match error {
            // Out of resources; the operator steps in; in recovery; a lock was not got; a conflict, as of
            // two frontends that make the schema at once.
            Error::Database(error) => error.code().is_some_and(|code| {
                ["08", "53", "57", "55", "40", "23"].iter().any(|class| code.starts_with(class))
            }),
            Error::Configuration(_) | Error::Tls(_) => false,
            // So rustls says that a certificate is not good.
            Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
            _ => true,
        }
    }
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(BackendError::from(failure).to_string())
    }
}

/// Why a piece of work ended before its COMMIT: nothing of it was applied.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Others were in the way: the same again may succeed.
    Conflict(String),
    /// The database can't be reached, or refuses to work.
    Unavailable(String),
    /// Trying again would not help.
    Final(BackendError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if matches!(error, Error::PoolClosed) {
            return Self::Unavailable("the store is not open".into());
        }
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            // Serialization failure, deadlock, a lock not got in time, no memory for more locks.
            Some("40001" | "40P01" | "55P03" | "53200") => Self::Conflict(error.to_string()),
            // Damaged data, damaged index.
            Some("XX001" | "XX002") => Self::Final(BackendError::Corrupt(error.to_string())),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Final(error)
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict(reason) => Self::Busy(reason),
            Failure::Unavailable(reason) => Self::Unavailable(reason),
            Failure::Final(error) => error,
        }
    }
}
