//! Where frontends are reached. Between them and their clients stands a proxy each, so that an address outlives
//! the process behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One frontend, as its clients see it. Clones share it.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// The address of its proxy.
    pub address: SocketAddr,
    incarnation: Arc<AtomicU64>,
}

impl Frontend {
    /// A frontend behind this proxy, which was started once.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, incarnation: Arc::default() }
    }

    /// How often it has been started again.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    /// Notes that it goes: its lock queues are gone. Called before it is killed or told to end.
    pub fn goes(&self) {
        self.incarnation.fetch_add(1, Ordering::SeqCst);
    }
}
