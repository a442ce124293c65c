//! What every store promises: the [`Backend`] trait and its errors. Stores depend on this and on
//! `dragon-core`, never on each other; what calls a store depends on this, never on a store.

mod aside;
mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
mod marking;
mod pause;
mod snapshot;
mod unread;
mod wakeups;

pub use aside::spawn_aside;
pub use backend::{
    AccountsPage, Backend, BackendError, BatchOutcome, CommitFuture, Health, LOAD_BYTES_MAX, Loaded, Result,
    RowsRead, RowsReadError, lane_of, stored_cell,
};
pub use marking::mark_accounts;
pub use pause::jittered;
pub use snapshot::{Gathered, NamedRow, SNAPSHOT_STEP_BYTES, Snapshot, Step};
pub use unread::Unread;
pub use wakeups::Wakeups;
