//! What one simulated client does, again and again.

use anyhow::Result;

/// What one unit of work was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Operations done in it: 1 for most, 2 for a pair of lock and unlock, 151 for the mixed request.
    pub operations: u32,
    /// Payload that went either way: bodies, or keys and values, not heads.
    pub bytes: u64,
}

impl Unit {
    /// A unit that is one operation.
    #[must_use]
    #[cfg_attr(not(feature = "peers"), allow(dead_code))]
    pub fn one(bytes: usize) -> Self {
        Self { operations: 1, bytes: bytes as u64 }
    }
}

/// One simulated client, with a connection of its own.
pub trait Worker: 'static {
    /// Does one unit of work (one request, or a pair of lock and unlock…) and checks every answer. This is
    /// what is timed.
    ///
    /// # Errors
    /// For an answer that is not right, or a connection that broke: the run ends with it.
    async fn unit(&mut self) -> Result<Unit>;
}
