//! The default store: one SQLite file in a local folder. A batch is decided in memory over a cache,
//! then written and synced by one thread as one SQLite transaction, while the next batch is decided.
//!
//! Why SQLite, and what the others measured, is in `docs/decisions.md`; what lies in the folder is in
//! `docs/operators.md`.

mod clock;
mod directory;
mod engine;
mod metrics;
mod rows;
mod store;
mod verify;
mod wal;
mod writer;

pub use directory::OpenError;
pub use metrics::EmbeddedMetrics;
pub use store::EmbeddedStore;

#[cfg(test)]
mod tests;
