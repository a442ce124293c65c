//! The scenarios, one a file. Each checks every answer, and at its end what the server holds.

mod cas;
mod counter;
mod echo;
mod held;
mod holder;
mod hot_growth;
mod idempotent;
mod idle;
mod kv_read;
mod kv_write;
mod list;
mod lock_crowd;
mod lock_pairs;
mod mixed;
mod store_size;
pub mod watch;

use crate::outcome::Outcome;
use crate::plan::{Parameters, Scenario};
use crate::server::{Server, Starter};
use anyhow::Result;

/// Runs a scenario against a server. `starter` is for the one that needs new ones of its own.
///
/// # Errors
/// For the first wrong answer, or when the server holds something else at the end than it was told.
pub async fn run(
    scenario: Scenario,
    parameters: &Parameters,
    server: &Server,
    starter: &Starter,
) -> Result<Outcome> {
    match scenario {
        Scenario::Echo => echo::run(server, parameters).await,
        Scenario::KvWrite => kv_write::run(server, parameters).await,
        Scenario::KvRead => kv_read::run(server, parameters).await,
        Scenario::Counter => counter::run(server, parameters).await,
        Scenario::Cas => cas::run(server, parameters).await,
        Scenario::Mixed => mixed::run(server, parameters).await,
        Scenario::Idempotent => idempotent::run(server, parameters).await,
        Scenario::List => list::run(server, parameters).await,
        Scenario::LockPairs => lock_pairs::run(server, parameters, &starter.folder).await,
        Scenario::LockCrowd => lock_crowd::run(server, parameters).await,
        Scenario::WatchOne | Scenario::WatchMany => watch::run(server, parameters).await,
        Scenario::IdleLongPolls => idle::run(starter, parameters).await,
        Scenario::StoreSize => store_size::run(server, parameters).await,
        Scenario::HotGrowth => hot_growth::run(server, parameters).await,
    }
}
