//! What a cluster is made of.

use std::fmt;
use std::path::PathBuf;

/// What the frontends keep their data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// One frontend that keeps nothing over its end.
    Memory,
    /// One frontend with a data folder.
    Embedded,
    /// A Postgres of its own.
    Postgres {
        /// How many, 1 or more.
        frontends: usize,
    },
    /// A FoundationDB cluster of one process. It needs `fdbserver` (on PATH, or named by `DRAGON_FDBSERVER`)
    /// and a program that was built with this store.
    FoundationDb {
        /// How many, 1 or more.
        frontends: usize,
    },
}

/// How a cluster is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server program, `cloud-dragon`.
    pub program: PathBuf,
    /// What it keeps its data in.
    pub store: Store,
    /// Where logs, the embedded store's data and the like go: a folder that is there and nothing else uses.
    pub folder: PathBuf,
    /// Of the chance in the proxies.
    pub seed: u64,
    /// Whether the frontends' clocks are to jump: they are started under libfaketime, which costs time at every look
    /// at the clock.
    pub clocks: bool,
    /// Whether the disk is to fail or lose power: the embedded store's frontend, or Postgres, is started with a
    /// library that stands between it and its files.
    pub disks: bool,
    /// Further arguments of `cloud-dragon serve`.
    pub arguments: Vec<String>,
}

impl Store {
    /// How many frontends there are.
    #[must_use]
    pub fn frontends(self) -> usize {
        match self {
            Self::Memory | Self::Embedded => 1,
            Self::Postgres { frontends } | Self::FoundationDb { frontends } => frontends,
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => to.write_str("memory"),
            Self::Embedded => to.write_str("embedded"),
            Self::Postgres { frontends } => write!(to, "postgres with {frontends} frontends"),
            Self::FoundationDb { frontends } => write!(to, "foundationdb with {frontends} frontends"),
        }
    }
}
