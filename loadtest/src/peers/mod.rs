//! Redis, etcd and Postgres on the same work. This is the seam between a run and them, and all that a run
//! knows of them: without the feature `peers` there are none, and this file is all there is.
//!
//! What a run asks for: the first step for a peer starts it, in a private data folder under
//! `Start::folder` (see [`crate::process`]), on a free port of loopback, with every command started through `Start::cpus`
//! (`Cpus::spawn`), so that it runs on the server's cores. It stays, for the steps that follow, until
//! `Peers` is dropped, and then its processes and its data are gone. A step does the scenario's work as
//! [`crate::scenarios`] does it on Cloud Dragon: as many clients, keys (`accounts` × `keys` of them) and
//! bytes, [`crate::drive::run`] with the same parameters around workers of its own, the peer's
//! [`crate::usage::Processes`] for CPU and memory, each answer checked and at the end what the peer holds.
//! Every step begins on keys of its own.

use serde::Serialize;

#[cfg(feature = "peers")]
mod checks;
#[cfg(feature = "peers")]
mod client;
#[cfg(feature = "peers")]
mod etcd;
#[cfg(feature = "peers")]
mod postgres;
#[cfg(feature = "peers")]
mod promises;
#[cfg(feature = "peers")]
mod redis;
#[cfg(feature = "peers")]
mod running;
#[cfg(feature = "peers")]
mod text;
#[cfg(feature = "peers")]
mod watch;
#[cfg(feature = "peers")]
mod work;

#[cfg(not(feature = "peers"))]
mod absent;

#[cfg(not(feature = "peers"))]
pub use absent::Peers;
#[cfg(feature = "peers")]
pub use running::Peers;

/// What a peer promises, for the report: work is only the same where the promise is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// Its name and version.
    pub name: String,
    /// When an answer has come: what survives a crash or a power cut.
    pub durability: String,
    /// What happens all or nothing, and in what order others see it.
    pub transactions: String,
    /// What each scenario is mapped to, and what is not the same.
    pub differences: String,
}
