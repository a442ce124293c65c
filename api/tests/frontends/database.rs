//! What the frontends share: a Postgres, or with `DRAGON_TEST_STORE=foundationdb` a FoundationDB cluster.

use dragon_private_foundationdb::Cluster as FoundationDb;
use dragon_private_postgres::Server as Postgres;
use std::sync::Mutex;
use std::time::Duration;

const SCHEMA: &str = "dragon";
/// How many processes a cluster of FoundationDB has of which one is to die.
const PROCESSES: usize = 3;

/// A database that no other test uses.
#[derive(Debug)]
pub enum Database {
    Postgres(Postgres),
    FoundationDb { cluster: Mutex<FoundationDb>, address: String },
}

impl Database {
    /// Starts one; a cluster of which a part may die, if that is wanted.
    pub fn start(is_redundant: bool) -> Self {
        match std::env::var("DRAGON_TEST_STORE").as_deref() {
            Ok("foundationdb") => {
                let cluster = FoundationDb::start(if is_redundant { PROCESSES } else { 1 });
                let address = cluster.fresh_address();
                Self::FoundationDb { cluster: Mutex::new(cluster), address }
            }
            _ => Self::Postgres(Postgres::start()),
        }
    }

    /// The setting for a store in it.
    pub fn address(&self) -> String {
        match self {
            Self::Postgres(server) => server.address(SCHEMA),
            Self::FoundationDb { address, .. } => address.clone(),
        }
    }

    /// Kills all its processes and starts it again.
    pub fn crash(&self) {
        match self {
            Self::Postgres(server) => server.crash(),
            Self::FoundationDb { cluster, .. } => {
                let mut cluster = cluster.lock().unwrap();
                let processes = 0..cluster.size();
                processes.clone().for_each(|process| cluster.kill(process));
                processes.for_each(|process| cluster.start_process(process));
                cluster.until_available();
            }
        }
    }

    /// Ends its clients' connections: all of them, or with one of a cluster's processes, which is started again.
    pub async fn break_connections(&self, round: usize) {
        match self {
            Self::Postgres(server) => server.kill_connections().await,
            Self::FoundationDb { cluster, .. } => tokio::task::block_in_place(|| {
                let mut cluster = cluster.lock().unwrap();
                let process = round % cluster.size();
                cluster.kill(process);
                // Long enough for the others to notice.
                std::thread::sleep(Duration::from_millis(500));
                cluster.start_process(process);
                cluster.until_available();
            }),
        }
    }

    /// The part of a lease that may go missing because the frontends' clocks differ: a cluster has no clock of
    /// its own, and theirs pull at its time.
    pub fn slew(&self) -> f64 {
        match self {
            Self::Postgres(_) => 0.0,
            Self::FoundationDb { .. } => 0.1,
        }
    }
}
