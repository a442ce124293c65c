//! The client library's network thread: one a process, started once, ended before the process is.

use crate::failure::ConnectError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};
use std::fmt;

/// The running network, which every store needs. Drop it after the last store and before the process exits: the
/// library takes itself apart at exit, and a network that still runs then crashes.
pub struct Network(#[expect(dead_code, reason = "it stops when it is dropped")] NetworkAutoStop);

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// Starts the network thread.
    ///
    /// # Errors
    /// [`ConnectError::Client`] when the library refuses, for example because it is too old.
    ///
    /// # Panics
    /// When it was started in this process before.
    #[allow(unsafe_code)]
    pub fn start() -> Result<Self, ConnectError> {
        let network = FdbApiBuilder::default().build().map_err(ConnectError::Client)?;
        // SAFETY: it must be stopped before the process exits. It is when what is returned is dropped, which its
        // documentation asks for; a process that does not crashes at its end, after all its work.
        let network = unsafe { network.boot() };
        network.map(Self).map_err(ConnectError::Client)
    }
}
