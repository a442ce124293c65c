//! The data folder: one process at a time, and no silent reset.
//!
//! ```text
//! LOCK             held by the process that serves the folder; says whether it was closed in order
//! log-0000000001   the log, in files of ascending numbers: what is not in the database yet
//! log-spare        a file of the log that is done with, kept to be used again
//! store.db         the SQLite database, with store.db-wal and store.db-shm beside it while open
//! store.db.new     a database in the making: a crash during the first start leaves it, the next takes it away
//! ```

use crate::log;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Why a data folder can't be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves it.
    #[error("the data folder {0} is in use by another process; a folder serves one process at a time")]
    InUse(PathBuf),
    /// Something in it is damaged or missing. Nothing was changed.
    #[error(
        "the data folder {folder} is damaged: {what}. Nothing was changed; restore it from a backup, or move \
         it away to begin anew"
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What was found.
        what: String,
    },
    /// It was written by a newer version of this program.
    #[error(
        "the data folder {folder} has format {found}; this program knows formats up to {known}: use a newer one"
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// It holds something else.
    #[error("the folder {0} is not empty and is no Cloud Dragon data folder; name another one")]
    Foreign(PathBuf),
    /// The operating system refused.
    #[error("the data folder {folder} can't be opened: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

const OPEN: &str = "Cloud Dragon data folder, format 1, open";
const CLOSED: &str = "Cloud Dragon data folder, format 1, closed";
const UNMOVED: &str = "Cloud Dragon data folder, format 1, closed but for the log";
/// All texts are padded to one length, so that one is written over another in one piece.
const TEXT_BYTES: usize = 63;

/// A locked data folder.
#[derive(Debug)]
pub(crate) struct Directory {
    folder: PathBuf,
    lock: File,
    state: State,
}

/// What the lock file says about the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Never served: there is no database yet.
    New,
    /// Not closed in order: a crash. Both logs, the store's and SQLite's, hold what is needed.
    Open,
    /// The database was closed in order, but the log could not be moved to it.
    Unmoved,
    /// Closed in order.
    Closed,
}

impl Directory {
    /// Makes the folder if need be, and locks it.
    pub(crate) fn lock(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join("LOCK");
        if !path.exists() && std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
            return Err(OpenError::Foreign(folder.to_owned()));
        }
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = open.map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(folder.to_owned()),
            TryLockError::Error(source) => failed(source),
        })?;
        let mut text = String::new();
        lock.read_to_string(&mut text).map_err(failed)?;
        let state = match text.trim_end_matches(['\0', ' ', '\n']) {
            "" => State::New,
            OPEN => State::Open,
            CLOSED => State::Closed,
            UNMOVED => State::Unmoved,
            _ => {
                let what = "its LOCK file does not say what it should".to_owned();
                return Err(OpenError::Damaged { folder: folder.to_owned(), what });
            }
        };
        Ok(Self { folder: folder.to_owned(), lock, state })
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("store.db")
    }

    pub(crate) fn new_database(&self) -> PathBuf {
        self.folder.join("store.db.new")
    }

    /// SQLite's own log.
    pub(crate) fn database_log(&self) -> PathBuf {
        self.folder.join("store.db-wal")
    }

    /// Notes durably that the database is being served.
    pub(crate) fn mark_open(&mut self) -> io::Result<()> {
        self.write(OPEN)
    }

    /// Notes durably that the database was closed in order, and removes the log: nothing in it is needed.
    pub(crate) fn close_in_order(&mut self) -> io::Result<()> {
        self.write(CLOSED)?;
        self.remove_logs(u64::MAX)
    }

    /// Notes durably that the database needs no log of its own, but the store's.
    pub(crate) fn close_unmoved(&mut self) -> io::Result<()> {
        self.write(UNMOVED)
    }

    /// Removes the files of the log up to a number, and the spare one.
    pub(crate) fn remove_logs(&self, last: u64) -> io::Result<()> {
        for number in log::numbers(&self.folder)?.into_iter().filter(|number| *number <= last) {
            std::fs::remove_file(log::file_of(&self.folder, number))?;
        }
        match std::fs::remove_file(log::spare(&self.folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.lock.rewind()?;
        self.lock.write_all(format!("{text:TEXT_BYTES$}\n").as_bytes())?;
        self.lock.sync_all()?;
        sync_folder(&self.folder)
    }

    /// Takes the finished new database into use.
    pub(crate) fn adopt_new_database(&self) -> io::Result<()> {
        std::fs::rename(self.new_database(), self.database())?;
        sync_folder(&self.folder)
    }

    pub(crate) fn damaged(&self, what: impl ToString) -> OpenError {
        OpenError::Damaged { folder: self.folder.clone(), what: what.to_string() }
    }

    pub(crate) fn failed(&self, source: io::Error) -> OpenError {
        OpenError::Io { folder: self.folder.clone(), source }
    }
}

/// Makes new, renamed and removed names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
