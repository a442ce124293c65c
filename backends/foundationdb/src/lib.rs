//! A [`Backend`](dragon_contract::Backend) on FoundationDB 7.3: any number of frontends over one cluster,
//! each of whose transactions is strictly serializable. What a request means is decided by `dragon-core`.
//!
//! A lane of requests is one batch after another: read at one version, decide, commit (`committer`). Two
//! batches that touch an account conflict in the account's own row and nowhere else; who was refused again
//! and again claims the lane (`turns`). A commit of unknown fate is settled by the record that it writes of
//! itself (`settling`). An account is read as of one moment however long that takes (`snapshots`, `saving`).
//! Whoever waits for a cell has a native watch on it (`watches`). Time is a stored mark that
//! the frontends advance together (`clock`, `housekeeping`).
//!
//! Everything lies under one prefix (`keys`), and nothing outside it is touched.
#![cfg(feature = "client")]

mod address;
mod clock;
mod committer;
mod failure;
mod housekeeping;
mod keys;
mod metrics;
mod network;
mod opening;
mod pages;
mod pieces;
mod rows;
mod saving;
mod settling;
mod snapshots;
mod store;
mod sweeping;
mod turns;
mod watches;
mod writes;

pub use address::Address;
pub use failure::{AddressError, ConnectError};
pub use metrics::FoundationDbMetrics;
pub use network::Network;
pub use store::FoundationDbStore;
