//! A private FoundationDB cluster for tests, and for nothing else: real `fdbserver` processes on free ports
//! of 127.0.0.1, their data in a temporary folder, gone when the test process is.
//!
//! `fdbserver` is found on PATH, or `DRAGON_FDBSERVER` names it; `fdbcli` lies beside it or is on PATH too.
//! Where there is none, tests say so and are skipped. It knows no client library and no store, so that tests of
//! any layer may use it. Whatever fails here panics.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a cluster may take until it can be used.
const START_TIME_MAX: Duration = Duration::from_secs(90);
/// Kills the server when a line comes; and removes the cluster's folder too when instead the input ends, as it
/// does however the test process ends.
const KEEP: &str = r#""$@" < /dev/null & server=$!; read -r line; kill -9 "$server" 2> /dev/null
wait "$server"; test -n "$line" || rm -rf "$FOLDER""#;

/// The programs of FoundationDB.
#[derive(Clone, Debug)]
struct Programs {
    fdbserver: PathBuf,
    fdbcli: PathBuf,
}

/// A cluster of one's own. Dropping it stops it and deletes its folder.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    folder: TempDir,
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    /// By which others reach it.
    port: u16,
    /// At which it listens.
    listening: u16,
    /// The shell that keeps the server; none while the server is dead.
    keeper: Option<Child>,
}

/// Whether there is an `fdbserver` to test with. Says so where there is none.
#[must_use]
pub fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let is_available = *AVAILABLE.get_or_init(|| Programs::find().is_some());
    if !is_available {
        eprintln!("skipped: no fdbserver");
    }
    is_available
}

/// The address of a store that nobody has used, in the cluster that the tests of this process share.
#[must_use]
pub fn fresh_address() -> String {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(1)).fresh_address()
}

impl Cluster {
    /// Makes a cluster of so many processes and starts it: every row is stored once in a cluster of one, and
    /// twice in a larger one.
    #[must_use]
    pub fn start(processes: usize) -> Self {
        Self::start_on(free_ports(processes).into_iter().map(|port| (port, port)).collect())
    }

    /// Makes a cluster of one process, which is reached by one port of 127.0.0.1 and listens at another, and starts
    /// it: something must lead from the one to the other already.
    #[must_use]
    pub fn start_behind(port: u16, listening: u16) -> Self {
        Self::start_on(vec![(port, listening)])
    }

    fn start_on(ports: Vec<(u16, u16)>) -> Self {
        let programs = Programs::find().expect("is_available() was asked");
        let folder = tempfile::Builder::new().prefix("dragon-fdb-").tempdir().expect("a temporary folder");
        let coordinators: Vec<String> = ports.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let cluster_file = format!("test:private@{}\n", coordinators.join(","));
        fs::write(folder.path().join("fdb.cluster"), cluster_file).expect("the cluster file is written");
        let process = |(port, listening)| Process { port, listening, keeper: None };
        let processes = ports.into_iter().map(process).collect();
        let mut cluster = Self { programs, folder, processes };
        for process in 0..cluster.processes.len() {
            cluster.start_process(process);
        }
        let redundancy = if cluster.processes.len() > 1 { "double" } else { "single" };
        cluster.cli(&format!("configure new {redundancy} ssd"));
        cluster.until_available();
        cluster
    }

    /// The file by which clients find it.
    #[must_use]
    pub fn cluster_file(&self) -> PathBuf {
        self.folder.path().join("fdb.cluster")
    }

    /// The address of a store that nobody has used.
    #[must_use]
    pub fn fresh_address(&self) -> String {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let last = LAST.fetch_add(1, Ordering::SeqCst);
        format!("fdb:{}?prefix=test-{}-{last}", self.cluster_file().display(), std::process::id())
    }

    /// How many processes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.processes.len()
    }

    /// For each process that runs, the one that is its parent and nothing else's.
    #[must_use]
    pub fn keepers(&self) -> Vec<u32> {
        self.processes.iter().filter_map(|process| process.keeper.as_ref().map(Child::id)).collect()
    }

    /// Kills one of its processes, by SIGKILL.
    pub fn kill(&mut self, process: usize) {
        if let Some(mut keeper) = self.processes[process].keeper.take() {
            let mut input = keeper.stdin.take().expect("it is piped");
            input.write_all(b"kill\n").expect("the keeper reads");
            keeper.wait().expect("the server is killed");
        }
    }

    /// Starts a process again after it was killed.
    pub fn start_process(&mut self, process: usize) {
        let folder = self.folder.path();
        let Process { port, listening, .. } = self.processes[process];
        let data = folder.join(format!("data-{port}"));
        fs::create_dir_all(&data).expect("a folder for data");
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEP, "sh"]).arg(&self.programs.fdbserver);
        keeper.arg("--cluster-file").arg(self.cluster_file()).arg("--datadir").arg(data);
        keeper.arg("--logdir").arg(folder).args(["--public-address", &format!("127.0.0.1:{port}")]);
        keeper.args(["--listen-address", &format!("127.0.0.1:{listening}")]);
        // Machines of their own, as far as redundancy is concerned.
        keeper.args([format!("--locality-zoneid={port}"), format!("--locality-machineid={port}")]);
        keeper.args(["--memory", "4GiB", "--storage-memory", "256MiB", "--cache-memory", "256MiB"]);
        keeper.env("FOLDER", folder).current_dir("/");
        keeper.stdin(Stdio::piped()).stdout(log.try_clone().expect("a log")).stderr(log);
        // What interrupts this process does not reach it.
        self.processes[process].keeper = Some(keeper.process_group(0).spawn().expect("sh runs"));
    }

    /// Waits until it can be used.
    pub fn until_available(&self) {
        let begun = Instant::now();
        while !self.cli("status minimal").contains("is available") {
            assert!(begun.elapsed() < START_TIME_MAX, "the cluster does not start: {}", self.log());
            sleep(Duration::from_millis(100));
        }
    }

    /// Runs a command of `fdbcli` and gives what it prints.
    pub fn cli(&self, command: &str) -> String {
        let mut cli = Command::new(&self.programs.fdbcli);
        cli.arg("-C").arg(self.cluster_file()).args(["--timeout", "60", "--exec", command]);
        let output = cli.output().expect("fdbcli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What its processes have printed.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in 0..self.processes.len() {
            self.kill(process);
        }
    }
}

/// A port of 127.0.0.1 that nobody has.
#[must_use]
pub fn free_port() -> u16 {
    free_ports(1)[0]
}

/// All at once, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let listeners: Vec<TcpListener> = (0..count).map(|_| listen()).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}

impl Programs {
    fn find() -> Option<Self> {
        let fdbserver = match std::env::var_os("DRAGON_FDBSERVER") {
            Some(given) => Some(PathBuf::from(given)),
            None => on_path("fdbserver"),
        }?;
        let beside = fdbserver.with_file_name("fdbcli");
        let fdbcli = if beside.is_file() { Some(beside) } else { on_path("fdbcli") };
        Some(Self { fdbserver, fdbcli: fdbcli.expect("fdbcli is there where fdbserver is") })
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder: PathBuf| folder.join(name))
        .find(|file: &PathBuf| Path::is_file(file))
}
