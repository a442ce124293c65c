//! What the writing thread needs of the log: so narrow that a test can put failures in between.

use bytes::Bytes;
use dragon_core::UnixMs;
use dragon_core::cell::Cell;
use std::io;

/// The rows that become durable together, each once, and the store's time.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) rows: Vec<(&'a Cell, Option<&'a Bytes>)>,
    pub(crate) latest_ms: UnixMs,
}

/// The end of the log.
pub(crate) trait WriteEngine: Send {
    /// Writes all rows durably, or none.
    fn write(&mut self, change: &Change<'_>) -> Result<(), WriteError>;

    /// How long the present file is.
    fn written_bytes(&self) -> u64;

    /// Begins the next file and returns the number of the one before it, which is complete.
    fn begin_file(&mut self) -> io::Result<u64>;
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct WriteError {
    /// Whether nothing of it can have become durable.
    pub(crate) nothing_applied: bool,
    /// What the system said.
    pub(crate) message: String,
}
