//! A [`Backend`](dragon_contract::Backend) on Postgres 13 or newer: any number of frontends over one
//! database. What a request means is decided by `dragon-core`, and no rule of it is written in SQL.
//!
//! A lane of requests is one batch after another, of two round trips each: `read_lane` takes the lane's
//! advisory lock and reads what the batch names; `commit_batch` is one SERIALIZABLE transaction that writes
//! the outcome if the accounts are still as they were read (`migrations`, `committer`). A commit whose
//! answer is lost is settled by the row that it wrote of itself (`settling`). Frontends wake each other by
//! NOTIFY after the commit (`notifier`, `listener`); once a second each looks for what went astray
//! (`housekeeping`).
//!
//! One schema holds one store, and nothing outside it is touched. The role needs no more than to own it. A
//! pooler in front of the database must keep sessions apart.

mod address;
mod committer;
mod failure;
mod housekeeping;
mod lane_lock;
mod listener;
mod metrics;
mod notifier;
mod opening;
mod pages;
mod reader;
mod rows;
mod schema;
mod session;
mod settling;
mod snapshot;
mod store;
mod sweeping;
mod watches;

pub use address::Address;
pub use failure::{AddressError, ConnectError};
pub use metrics::PostgresMetrics;
pub use session::StoreOptions;
pub use store::PostgresStore;
