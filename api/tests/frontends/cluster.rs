//! Frontends over a database that no other test uses.

use crate::database::Database;
use crate::support::{Account, Frontend};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tempfile::TempDir;

/// Environment of a frontend, beside the usual.
pub type Settings<'a> = &'a [(&'static str, &'a str)];

pub struct Cluster {
    pub frontends: Vec<Frontend>,
    pub database: Arc<Database>,
    /// When it was started.
    pub begun: Instant,
    addresses: Addresses,
    /// The frontends' working folder.
    _folder: TempDir,
}

/// Where the frontends are reached at present.
#[derive(Clone, Debug)]
pub struct Addresses(Arc<Mutex<Reached>>);

#[derive(Debug, Default)]
struct Reached {
    now: Vec<SocketAddr>,
    killed: HashSet<SocketAddr>,
    /// Told to go down.
    told: HashSet<SocketAddr>,
}

impl Cluster {
    /// Starts so many frontends.
    pub fn start(frontends: usize) -> Self {
        Self::start_on(Database::start(false), frontends)
    }

    /// Starts so many frontends on this database.
    pub fn start_on(database: Database, frontends: usize) -> Self {
        let plain: Settings = &[];
        Self::start_each(database, &vec![plain; frontends])
    }

    /// Starts a frontend for each of these environments.
    pub fn start_each(database: Database, settings: &[Settings]) -> Self {
        let begun = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let store = database.address();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", &store].map(str::to_owned);
        let start = |settings: &Settings| Frontend::start(folder.path(), &arguments, settings);
        let frontends: Vec<Frontend> = settings.iter().map(start).collect();
        let now = frontends.iter().map(Frontend::address).collect();
        let addresses = Addresses(Arc::new(Mutex::new(Reached { now, ..Reached::default() })));
        Self { frontends, database: Arc::new(database), begun, addresses, _folder: folder }
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// An account whose connections go to the frontends in turn.
    pub fn account(&self, name: &str) -> Account {
        let addresses: Vec<SocketAddr> = self.frontends.iter().map(Frontend::address).collect();
        Account::at(&addresses, name)
    }

    /// An account at one frontend.
    pub fn account_at(&self, frontend: usize, name: &str) -> Account {
        Account::at(&[self.frontends[frontend].address()], name)
    }

    /// Kills a frontend as `kill -9` does and starts it again.
    pub fn kill_and_start_again(&mut self, frontend: usize) {
        self.addresses.0.lock().unwrap().killed.insert(self.frontends[frontend].address());
        self.frontends[frontend].kill();
        self.frontends[frontend].start_again();
        self.addresses.0.lock().unwrap().now[frontend] = self.frontends[frontend].address();
    }

    /// Tells a frontend to go down, waits until it has, and starts it again.
    pub fn restart(&mut self, frontend: usize) {
        self.addresses.0.lock().unwrap().told.insert(self.frontends[frontend].address());
        self.frontends[frontend].signal("TERM");
        let exit = self.frontends[frontend].wait_for_exit();
        assert_eq!(exit.code, Some(0), "{}", exit.log);
        self.frontends[frontend].start_again();
        self.addresses.0.lock().unwrap().now[frontend] = self.frontends[frontend].address();
    }

    /// Kills the database's processes and starts it again.
    pub async fn crash_database(&self) {
        let database = Arc::clone(&self.database);
        tokio::task::spawn_blocking(move || database.crash()).await.unwrap();
    }
}

impl Addresses {
    /// The address of a frontend, counted round and round.
    pub fn get(&self, at: usize) -> SocketAddr {
        let reached = self.0.lock().unwrap();
        reached.now[at % reached.now.len()]
    }

    /// Whether the frontend that was there need not be any more.
    pub fn may_be_gone(&self, address: SocketAddr) -> bool {
        let reached = self.0.lock().unwrap();
        reached.killed.contains(&address) || reached.told.contains(&address)
    }

    /// Whether the frontend that was there has been killed.
    pub fn was_killed(&self, address: SocketAddr) -> bool {
        self.0.lock().unwrap().killed.contains(&address)
    }
}
