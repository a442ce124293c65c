//! A [`Backend`](dragon_contract::Backend) on Postgres 13 or newer: several frontends over one database.
//! A batch is one SERIALIZABLE transaction; what a request means is decided by `dragon-core`, and no
//! rule of it is written in SQL.
//!
//! It keeps every promise of the trait, and is plain rather than fast: one lane, one commit in flight,
//! five or six round trips a batch, and frontends that meet in one account retry against each other.
//!
//! One schema holds one store; [`PostgresStore::connect`] makes it. The role needs no more than to own
//! the schema. A pooler in front of the database must keep sessions apart (session mode).

mod address;
mod committer;
mod failure;
mod listener;
mod notifier;
mod reading;
mod rows;
mod session;
mod store;
mod watches;

pub use address::Address;
pub use failure::{AddressError, ConnectError};
pub use store::PostgresStore;
