//! The default store: a local folder. A batch is decided in memory, then written and synced by one thread
//! as one record of a log, while the next batch is decided. The rows of the log are in memory too, until a
//! third thread has moved them to the database, an SQLite file.
//!
//! ```text
//! store     decides batches over rows::LatestRows, hands them to writer, reads durable::Durable
//! writer    the thread that appends to log and puts what is durable into layers
//! mover     the thread that moves a complete layer to database, and gives its file of the log free
//! durable   layers over database, read as one
//! snapshot  an account as of one moment
//! verify    opening: everything is looked at before anything is changed; the log of a crash is moved
//! ```
//!
//! Why a log in front of SQLite, and what others measured, is in `docs/decisions.md`; what lies in the folder
//! is in `docs/operators.md`.

mod clock;
mod database;
mod database_log;
mod directory;
mod durable;
mod layers;
mod log;
mod metrics;
mod mover;
mod progress;
mod rows;
mod snapshot;
mod store;
mod verify;
mod write_engine;
mod writer;

pub use directory::OpenError;
pub use metrics::EmbeddedMetrics;
pub use store::EmbeddedStore;
pub use writer::LogBounds;

#[cfg(test)]
mod tests;
