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

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The database can't be reached, or did not let the store make its tables.
    #[error("the database can't be used: {0}")]
    Database(#[from] Error),
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
