//! The program `dragon-one-by-one`: Cloud Dragon on a database, with a transaction for each request. All
//! above the store is the code of `cloud-dragon` itself, so that the store is all that a comparison
//! with it compares.

mod cells;
#[cfg(feature = "foundationdb")]
mod cluster;
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
use transaction::Postgres;

/// As in `cloud-dragon`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves Cloud Dragon from a database, with a transaction for each request: the reference of a
/// measurement, and nothing to keep data in.
#[derive(Debug, Parser)]
#[command(version, mut_arg("store", |store| store.hide(true)))]
struct Arguments {
    /// The database: a Postgres, in which the table `cell` is made unless it is there, or where that is compiled
    /// in, fdb:CLUSTER_FILE?prefix=NAME
    #[arg(long, value_name = "postgres://USER@HOST/DATABASE")]
    database: String,
    /// Connections to a Postgres
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "COUNT")]
    connections: u32,
    /// The settings of the server, but for the store.
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(&arguments.settings);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), ServeError> {
    #[cfg(feature = "foundationdb")]
    if arguments.database.starts_with("fdb:") {
        let network = dragon_foundationdb::Network::start().map_err(other)?;
        let served = serve::run_on(&arguments.settings, async |metrics| {
            let address = arguments.database.parse().map_err(other::<dragon_foundationdb::AddressError>)?;
            let cluster = cluster::Cluster::new(&address).map_err(other)?;
            Ok(Arc::new(OneByOne::new(cluster, metrics.registry())).into())
        });
        drop(network);
        return served;
    }
    serve::run_on(&arguments.settings, async |metrics: &mut Metrics| {
        let database: PgConnectOptions = arguments.database.parse().map_err(other::<sqlx::Error>)?;
        let database = Postgres::connect(database, arguments.connections).await.map_err(other)?;
        Ok::<Served, ServeError>(Arc::new(OneByOne::new(database, metrics.registry())).into())
    })
}

fn other<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> ServeError {
    ServeError::Other(error.into())
}
