//! The servers under load: started here on free ports, or running already.

use crate::cpus::Cpus;
use crate::database;
use crate::dataset::Datasets;
use crate::plan::OnDatabase;
use crate::process::{Process, Start};
use crate::usage::Processes;
use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const START_TIME_MAX: Duration = Duration::from_secs(20);
/// The unit of a file's blocks, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;
/// What a server says before its address.
const LISTENING: &str = "listening on http://";

/// A server; one that was started here ends with this, and its data too.
#[derive(Debug)]
pub struct Server {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its process, if known.
    pub pid: Option<u32>,
    /// What it was loaded with for scenarios that share it.
    pub datasets: Datasets,
    child: Option<Child>,
    /// Further frontends of the same store.
    others: Vec<Server>,
    is_on_database: bool,
    /// Where the data is, when it is not in a folder. It ends last.
    database: Option<Process>,
    folder: Option<TempDir>,
}

/// How servers come into being.
#[derive(Clone, Debug)]
pub struct Starter {
    /// The server's program.
    pub program: PathBuf,
    /// The program that commits request by request.
    pub one_by_one: PathBuf,
    /// Where data folders are made.
    pub folder: PathBuf,
    /// The store, where it is not a new embedded one.
    pub store: Option<String>,
    /// The cluster file of the FoundationDB that servers on a database use, if not a Postgres.
    pub cluster_file: Option<PathBuf>,
    /// The URL and perhaps the process of a server that runs already: it is taken instead.
    pub running: Option<(String, Option<u32>)>,
    /// Where servers run.
    pub cpus: Cpus,
}

impl Starter {
    /// The server under load: a new one, or the one that runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn server(&self) -> Result<Server> {
        match &self.running {
            Some((url, pid)) => Server::running(url, *pid),
            None => Server::start(&self.program, &self.folder, self.store.as_deref(), &self.cpus),
        }
    }

    /// Servers on a new Postgres, or under a new prefix of the cluster, as one.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn on_database(&self, on: OnDatabase) -> Result<Server> {
        let (database, url) = match &self.cluster_file {
            Some(file) => (None, format!("fdb:{}?prefix={}", file.display(), fresh_prefix())),
            None => {
                let start = Start { folder: self.folder.clone(), cpus: self.cpus.clone() };
                let database = database::start(&start)?;
                let url = format!("postgres://postgres@{}/postgres", database.address);
                (Some(database), url)
            }
        };
        let (program, place, frontends) = match on {
            OnDatabase::OneByOne => (&self.one_by_one, ["--database", &url], 1),
            OnDatabase::OneFrontend => (&self.program, ["--store", &url], 1),
            OnDatabase::TwoFrontends => (&self.program, ["--store", &url], 2),
        };
        let arguments = ["--listen", "127.0.0.1:0", "--log", "info", "--log-format", "text"];
        let arguments = [&arguments[..], &place].concat();
        let mut server = Server::spawn(program, &arguments, None, &self.cpus)?;
        for _ in 1..frontends {
            server.others.push(Server::spawn(program, &arguments, None, &self.cpus)?);
        }
        server.database = database;
        server.is_on_database = true;
        Ok(server)
    }

    /// This program's echo server.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn echo(&self) -> Result<Server> {
        Server::spawn(&std::env::current_exe()?, &["echo-server"], None, &self.cpus)
    }
}

impl Server {
    /// Starts `cloud-dragon` on a new data folder in `parent`, or on `store`.
    ///
    /// # Errors
    /// When it does not come up.
    fn start(program: &Path, parent: &Path, store: Option<&str>, cpus: &Cpus) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cloud-dragon-load").tempdir_in(parent)?;
        let store = match store {
            Some(store) => store.to_owned(),
            None => format!("embedded:{}", folder.path().join("data").display()),
        };
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--log", "info", "--log-format", "text", "--store", &store];
        Self::spawn(program, &arguments, Some(folder), cpus)
    }

    /// A server that runs already, on this machine.
    ///
    /// # Errors
    /// When the URL is not one of this machine's own.
    fn running(url: &str, pid: Option<u32>) -> Result<Self> {
        let Some(address) = url.strip_prefix("http://") else { bail!("{url} does not begin with http://") };
        let address = address.trim_end_matches('/').replace("localhost", "127.0.0.1");
        let address: SocketAddr = address.parse().with_context(|| format!("the address in {url}"))?;
        ensure!(address.ip().is_loopback(), "{address} is not this machine: load goes to loopback only");
        let datasets = Datasets::default();
        Ok(Self {
            address,
            pid,
            datasets,
            child: None,
            others: Vec::new(),
            is_on_database: false,
            database: None,
            folder: None,
        })
    }

    fn spawn<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        folder: Option<TempDir>,
        cpus: &Cpus,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = cpus.spawn(&mut command)?;
        let (address_found, address) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || follow(stderr, &address_found));
        }
        let pid = Some(child.id());
        let address_none = SocketAddr::from(([127, 0, 0, 1], 0));
        let datasets = Datasets::default();
        let mut server = Self {
            address: address_none,
            pid,
            datasets,
            child: Some(child),
            others: Vec::new(),
            is_on_database: false,
            database: None,
            folder,
        };
        server.address = address
            .recv_timeout(START_TIME_MAX)
            .with_context(|| format!("{} did not say where it listens", program.display()))?;
        Ok(server)
    }

    /// Where its frontends answer: most servers have one, which is `address`.
    pub fn frontends(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.address).chain(self.others.iter().map(|other| other.address))
    }

    /// Where the client of this number goes: clients take the frontends in turn.
    #[must_use]
    pub fn frontend(&self, client: usize) -> SocketAddr {
        match client % (1 + self.others.len()) {
            0 => self.address,
            number => self.others[number - 1].address,
        }
    }

    /// Its processes, where they are known, and its database's.
    #[must_use]
    pub fn processes(&self) -> Processes {
        let own = self.pid.map_or_else(Processes::unknown, Processes::one);
        let others = self.others.iter().map(Self::processes);
        others.chain(self.database_processes()).fold(own, Processes::and)
    }

    /// Whether it was started on a database.
    #[must_use]
    pub fn is_on_database(&self) -> bool {
        self.is_on_database
    }

    /// The processes of its database, where that was started here.
    #[must_use]
    pub fn database_processes(&self) -> Option<Processes> {
        self.database.as_ref().map(Process::processes)
    }

    /// Bytes that its data takes on disk, where it was started here on files.
    #[must_use]
    pub fn disk_bytes(&self) -> Option<u64> {
        let data = self.folder.as_ref()?.path().join("data");
        data.exists().then(|| disk_bytes(&data))
    }
}

/// A prefix that no other run has used.
fn fresh_prefix() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("load-{:x}", since_epoch.as_micros())
}

/// What is allocated for a file, or for all in a folder. Files that come and go meanwhile do not matter.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let entries = metadata.is_dir().then(|| std::fs::read_dir(path).ok()).flatten();
    let inside = entries.into_iter().flatten().flatten().map(|entry| disk_bytes(&entry.path()));
    metadata.blocks() * BLOCK_BYTES + inside.sum::<u64>()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a server's log to its end: passes its address on, and shows what is out of the ordinary.
fn follow(stderr: ChildStderr, address_found: &mpsc::Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(address) = parse_address(&line) {
            // Nobody waits any more when it took too long.
            let _ = address_found.send(address);
        } else if !line.contains(" INFO ") {
            eprintln!("server: {line}");
        }
    }
}

fn parse_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    rest.split_whitespace().next()?.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let line = "2025-01-01T00:00:00Z  INFO cloud_dragon::serve: listening on http://127.0.0.1:4567";
        assert_eq!(parse_address(line), Some(([127, 0, 0, 1], 4567).into()));
        assert_eq!(parse_address("listening on http://[::1]:80/ now"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(parse_address("listening on http://nowhere"), None);
        assert_eq!(parse_address("INFO stopped"), None);
    }

    #[test]
    fn only_this_machine() {
        for good in ["http://127.0.0.1:8080", "http://localhost:8080/", "http://[::1]:1"] {
            Server::running(good, None).unwrap();
        }
        for bad in ["http://192.0.2.1:8080", "https://127.0.0.1:8080", "127.0.0.1:8080", "http://example.com"]
        {
            assert!(Server::running(bad, None).is_err(), "{bad}");
        }
    }
}
