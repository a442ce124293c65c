//! A private Postgres for tests, and for nothing else: made by `initdb` in a temporary folder, reached
//! through a socket in it, fsync on, gone when the test process is. `DRAGON_TEST_POSTGRES` names a server
//! to use instead where tests share one.
//!
//! It knows addresses as text and no store, so that tests of any layer may use it. Whatever fails here
//! panics, with what the server logged.

mod programs;

use programs::Programs;
pub use programs::is_root;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// What the server is set to: durable as in production, small enough for a test, with room for the
/// connections of many frontends at once.
const SETTINGS: &str = "
max_connections = 500
shared_buffers = 32MB
fsync = on
synchronous_commit = on
max_wal_size = 256MB
logging_collector = off
";
const LOG_LINES_SHOWN: usize = 60;

/// A server of one's own. Dropping it stops it and deletes its folder.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    folder: TempDir,
    /// The TCP port, if it listens on one.
    port: Option<u16>,
    /// Of its processes, beside that of this one.
    environment: Vec<(String, OsString)>,
    /// Stops the server when its input ends, however this process ends.
    keeper: Child,
}

/// The URL of the server that the tests of this process share, without a schema.
#[must_use]
pub fn shared_url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    match std::env::var("DRAGON_TEST_POSTGRES") {
        Ok(url) => url,
        Err(_) => SERVER.get_or_init(Server::start).url(),
    }
}

/// The address of a schema on the server that the tests of this process share.
#[must_use]
pub fn shared_address(schema: &str) -> String {
    address_of(&shared_url(), schema)
}

/// The address of a schema on the server with this URL.
#[must_use]
pub fn address_of(url: &str, schema: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}schema={schema}")
}

/// A schema's name that no other test has, of this run or an earlier one. A server that was given
/// keeps it: its name begins with `test_`.
#[must_use]
pub fn fresh_schema() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let last = LAST.fetch_add(1, Ordering::SeqCst);
    format!("test_{:x}_{}_{last}", since_epoch.as_millis(), std::process::id())
}

impl Server {
    /// Makes a database and starts it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Makes a database with further lines of `postgresql.conf`, which win over the usual ones, and
    /// starts it.
    #[must_use]
    pub fn start_with(settings: &str) -> Self {
        Self::start_on(None, settings)
    }

    /// Like `start_with`, and it listens on a free port of 127.0.0.1 besides.
    #[must_use]
    pub fn start_with_tcp(settings: &str) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        Self::start_on(Some(free.expect("a free port").port()), settings)
    }

    fn start_on(port: Option<u16>, settings: &str) -> Self {
        let programs = Programs::find();
        // A socket's path has room for about 100 bytes, so the folder must not lie deep.
        let folder = tempfile::Builder::new().prefix("dragon-pg-").tempdir().expect("a temporary folder");
        programs.initdb(folder.path());
        let mut text = fs::read_to_string(settings_file(folder.path())).expect("settings");
        text += SETTINGS;
        let (sockets, listen) = (folder.path().display(), port.map_or("", |_| "127.0.0.1"));
        write!(text, "unix_socket_directories = '{sockets}'\nlisten_addresses = '{listen}'\n").expect("text");
        if let Some(port) = port {
            writeln!(text, "port = {port}").expect("text");
        }
        text += settings;
        fs::write(settings_file(folder.path()), text).expect("settings are written");
        let keeper = programs.keep(folder.path());
        let server = Self { programs, folder, port, environment: Vec::new(), keeper };
        server.start_again();
        server
    }

    /// Where it is reached, through its socket; without a schema.
    #[must_use]
    pub fn url(&self) -> String {
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        format!("postgres://postgres@localhost{port}/postgres?host={}", self.folder.path().display())
    }

    /// Where it is reached over TCP.
    ///
    /// # Panics
    /// Where it was not started so.
    #[must_use]
    pub fn tcp_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port.expect("started with TCP"))
    }

    /// The TCP port, if it listens on one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The process that all others of it are children of, while there is one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        let file = fs::read_to_string(programs::data(self.folder.path()).join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Has it be started with further environment variables from now on.
    pub fn set_environment(&mut self, environment: Vec<(String, OsString)>) {
        self.environment = environment;
    }

    /// The address of a schema, through the socket.
    #[must_use]
    pub fn address(&self, schema: &str) -> String {
        address_of(&self.url(), schema)
    }

    /// The folder that everything of it is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills its processes and starts it again, so that it recovers from its log.
    pub fn crash(&self) {
        self.pg_ctl(&["-m", "immediate", "restart"]);
    }

    /// Stops it in order: its clients are cut off, what is not committed is undone.
    pub fn stop(&self) {
        self.pg_ctl(&["-m", "fast", "stop"]);
    }

    /// Starts it after `stop`.
    pub fn start_again(&self) {
        self.pg_ctl(&["start"]);
    }

    /// Runs statements on a connection of their own.
    ///
    /// # Panics
    /// Where they fail.
    pub async fn execute(&self, statements: &str) {
        let done = async {
            let mut connection = PgConnection::connect(&self.url()).await?;
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await?;
            connection.close().await
        };
        if let Err(error) = done.await {
            panic!("{statements} failed: {error}\n{}", self.log());
        }
    }

    /// Ends the connections of all its clients.
    pub async fn kill_connections(&self) {
        const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.execute(KILL).await;
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let mut pg_ctl = self.programs.pg_ctl(self.folder.path());
        pg_ctl.arg("-l").arg(self.folder.path().join("log"));
        pg_ctl.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // What stays running must not hold this process's output open.
        pg_ctl.args(["-w", "-s"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let status = pg_ctl.status().expect("pg_ctl runs");
        assert!(status.success(), "pg_ctl {arguments:?} failed; the server's log:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of Postgres:\n{}", self.log());
        }
        drop(self.keeper.stdin.take());
        self.keeper.wait().expect("the server is stopped");
    }
}

fn settings_file(folder: &Path) -> std::path::PathBuf {
    programs::data(folder).join("postgresql.conf")
}
