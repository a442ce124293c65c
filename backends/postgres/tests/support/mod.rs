//! A private Postgres for tests: made by `initdb` in a temporary folder, reached through a socket in
//! it, fsync on, gone when the test process is. `DRAGON_TEST_POSTGRES` names a server to use instead.

pub mod requests;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// What the server is set to: durable as in production, small enough for a test.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 200
shared_buffers = 32MB
fsync = on
synchronous_commit = on
max_wal_size = 256MB
logging_collector = off
";

/// A server of one's own.
pub struct Server {
    programs: PathBuf,
    folder: TempDir,
    /// Stops the server when its input ends, however this process ends.
    keeper: Child,
}

/// The server that the tests of this process share.
pub fn shared_url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    match std::env::var("DRAGON_TEST_POSTGRES") {
        Ok(url) => url,
        Err(_) => SERVER.get_or_init(Server::start).url(),
    }
}

/// A schema's name that no other test has, of this run or an earlier one. A server that was given
/// keeps it: its name begins with `test_`.
pub fn fresh_schema() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let last = LAST.fetch_add(1, Ordering::SeqCst);
    format!("test_{:x}_{}_{last}", since_epoch.as_millis(), std::process::id())
}

impl Server {
    /// Makes a database and starts it.
    pub fn start() -> Self {
        let programs = find_programs();
        // A socket's path has room for about 100 bytes, so the folder must not lie deep.
        let folder = tempfile::Builder::new().prefix("dragon-pg-").tempdir().expect("a temporary folder");
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(folder.path()));
        }
        let data = folder.path().join("data");
        let mut initdb = as_postgres(&programs.join("initdb"));
        run(initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data));
        let mut settings =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("settings");
        let sockets = folder.path().display();
        writeln!(settings, "{SETTINGS}unix_socket_directories = '{sockets}'").expect("settings are written");
        let keeper = keep(&programs, folder.path());
        let server = Self { programs, folder, keeper };
        server.pg_ctl(&["start"]);
        server
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Kills its processes and starts it again, so that it recovers from its log.
    pub fn crash(&self) {
        self.pg_ctl(&["-m", "immediate", "restart"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let mut pg_ctl = as_postgres(&self.programs.join("pg_ctl"));
        pg_ctl.arg("-D").arg(self.folder.path().join("data")).arg("-l").arg(self.folder.path().join("log"));
        // What stays running must not hold this process's output open.
        pg_ctl.args(["-w", "-s"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(pg_ctl.status().expect("pg_ctl runs").success(), "pg_ctl {arguments:?} failed:\n{}", log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().expect("the server is stopped");
    }
}

/// A process that waits for the end of its input, then stops the server and removes its folder.
fn keep(programs: &Path, folder: &Path) -> Child {
    const SCRIPT: &str = r#"read -r _; "$@" -m immediate -s stop; rm -rf "$FOLDER""#;
    let pg_ctl = as_postgres(&programs.join("pg_ctl"));
    let mut keeper = Command::new("sh");
    keeper.args(["-c", SCRIPT, "sh"]).arg(pg_ctl.get_program()).args(pg_ctl.get_args());
    keeper.arg("-D").arg(folder.join("data")).env("FOLDER", folder).current_dir("/");
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // What interrupts this process does not reach it.
    keeper.process_group(0).spawn().expect("a shell")
}

/// Where `initdb` and its like are: in `PATH`, else the newest of Debian's folders.
fn find_programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    in_path
        .into_iter()
        .chain(versions.into_iter().map(|(_, programs)| programs))
        .find(|folder| ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).exists()))
        .expect(
            "initdb, pg_ctl and postgres are neither in PATH nor in /usr/lib/postgresql/*/bin: install Debian's \
             package `postgresql`, or set DRAGON_TEST_POSTGRES to the URL of a server",
        )
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("`id` runs");
    id.stdout.trim_ascii() == b"0"
}

/// Postgres refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = if is_root() {
        let found = Command::new("id").args(["-u", "postgres"]).output().expect("`id` runs");
        assert!(
            found.status.success(),
            "Postgres refuses to run as root and there is no user `postgres`: install Debian's package \
             `postgresql`, or run the tests as another user"
        );
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{command:?} failed: {said:?}");
}

/// The address of a schema on the server that the tests share.
pub fn shared_address(schema: &str) -> dragon_postgres::Address {
    address_of(&shared_url(), schema)
}

/// The address of a schema.
pub fn address_of(url: &str, schema: &str) -> dragon_postgres::Address {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}schema={schema}").parse().expect("an address")
}
