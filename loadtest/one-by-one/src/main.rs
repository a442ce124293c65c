//! The program `dragon-one-by-one`: Cloud Dragon on Postgres, with a transaction for each request. All
//! above the store is the code of `cloud-dragon` itself, so that the store is all that a comparison
//! with it compares.

mod cells;
mod store;
mod transaction;

use clap::Parser;
use cloud_dragon::config::Settings;
use cloud_dragon::serve::{self, ServeError, Served};
use cloud_dragon::{Metrics, logging};
use sqlx::postgres::PgConnectOptions;
use std::process::ExitCode;
use std::sync::Arc;
use store::OneByOne;

/// As in `cloud-dragon`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves Cloud Dragon from a Postgres database, with a transaction for each request: the reference of a
/// measurement, and nothing to keep data in.
#[derive(Debug, Parser)]
#[command(version, mut_arg("store", |store| store.hide(true)))]
struct Arguments {
    /// The database; its table `cell` is made unless it is there
    #[arg(long, value_name = "postgres://USER@HOST/DATABASE")]
    database: PgConnectOptions,
    /// Connections to the database
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "COUNT")]
    connections: u32,
    /// The settings of the server, but for the store.
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(&arguments.settings);
    let open = async |metrics: &mut Metrics| {
        let store = OneByOne::connect(arguments.database, arguments.connections, metrics.registry()).await;
        let store = store.map_err(|error| ServeError::Other(error.into()))?;
        Ok::<Served, ServeError>(Arc::new(store).into())
    };
    match serve::run_on(&arguments.settings, open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
