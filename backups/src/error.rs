//! What goes wrong with backups.

use dragon_contract::BackendError;
use dragon_core::cell::Account;
use dragon_transfer::ExportError;
use dragon_transfer::format::FormatError;
use dragon_waiters::Failure;
use std::error::Error;

/// Why a backup, or a restore, came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The bucket could not do it.
    #[error("the bucket: {0}")]
    Bucket(String),
    /// A manifest can't be read.
    #[error("the manifest {id} can't be read: {problem}")]
    Manifest {
        /// The backup.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A newer version of this program has written it.
    #[error("the backup {id} is of format {format}, of a newer version of this program")]
    Newer {
        /// The backup.
        id: String,
        /// Its format.
        format: u64,
    },
    /// An object of a backup is not what its manifest says.
    #[error("the account {account} in the backup {id} is damaged: {problem}")]
    Damaged {
        /// The backup.
        id: String,
        /// The account.
        account: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An account can't be compressed or encrypted.
    #[error("packing: {0}")]
    Packing(String),
    /// Another server takes one.
    #[error("another backup is under way")]
    UnderWay,
    /// Another server may have begun to take one, because this one did not say in time that it is still at it.
    #[error("this server was too slow to keep the right to take a backup")]
    LostLock,
    /// There is no backup of that time, or none at all.
    #[error("there is no such backup")]
    NoBackup,
    /// The backup does not have the account.
    #[error("the backup {id} has no account {account}")]
    NoAccount {
        /// The backup.
        id: String,
        /// The account.
        account: Account,
    },
    /// The store has accounts already.
    #[error("the store is not empty: restore into another one, or force it")]
    NotEmpty,
    /// Where it is to be restored to can't be asked.
    #[error("{0}")]
    Target(String),
    /// An account can't be exported.
    #[error("the account {0} can't be exported: {1}")]
    Export(Account, ExportError),
    /// An account can't be imported.
    #[error("the account {0} can't be restored: {1}")]
    Restore(Account, String),
    /// What was exported is not well-formed.
    #[error("the account {0} was exported badly: {1}")]
    Format(Account, FormatError),
    /// The store could not do it.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<BackendError> for BackupError {
    fn from(error: BackendError) -> Self {
        Self::Failure(error.into())
    }
}

/// An error with what is behind it: libraries' own words leave that out.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        text.push_str(": ");
        text.push_str(&behind.to_string());
        source = behind.source();
    }
    text
}
