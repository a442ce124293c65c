//! Behind PgBouncer: pooled sessions work, pooled transactions are refused.

use dragon_contract::Backend as _;
use dragon_contract::conformance::counting::{add_one, counter, stored};
use dragon_postgres::{ConnectError, PostgresMetrics, PostgresStore, StoreOptions};
use dragon_private_postgres::{Server, is_root};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A pooler in front of a server.
struct Pooler {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    fn start(server: &Server, mode: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("dragon-bouncer-").tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let users = folder.path().join("users");
        fs::write(&users, "\"postgres\" \"\"\n").expect("users");
        let settings = format!(
            "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = {mode}\ndefault_pool_size = 60\nmax_client_conn = 200\n",
            server.folder().display(),
            users.display(),
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("settings");
        // It refuses to run as root, and must then be able to read its folder.
        let chmod = Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status();
        assert!(chmod.expect("chmod runs").success());
        let mut command = Command::new(program());
        if is_root() {
            command.args(["-u", "postgres"]);
        }
        command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer runs: Debian's package pgbouncer");
        Self { process, port, _folder: folder }
    }

    fn address(&self, schema: &str) -> StoreOptions {
        let address = format!("postgres://postgres@127.0.0.1:{}/postgres?schema={schema}", self.port);
        StoreOptions::new(address.parse().expect("an address"))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

fn program() -> &'static str {
    // Debian keeps it where only root's PATH goes.
    if Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" }
}

#[tokio::test(flavor = "multi_thread")]
async fn pooled_transactions_are_refused() {
    let server = Server::start();
    let pooler = Pooler::start(&server, "transaction");
    let store = PostgresStore::open(&pooler.address("dragon"), PostgresMetrics::default());
    let refused = timeout(Duration::from_secs(30), store.opened()).await.expect("in time");
    let refused = refused.expect_err("it can't work so");
    assert!(matches!(*refused, ConnectError::Pooled), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pooled_sessions_do() {
    let server = Server::start();
    let pooler = Pooler::start(&server, "session");
    let open = || PostgresStore::open(&pooler.address("dragon"), PostgresMetrics::default());
    let (here, there) = (open(), open());
    for store in [&here, &there] {
        timeout(Duration::from_secs(30), store.opened()).await.expect("in time").expect("it opens");
    }
    add_one(&there).await.expect("it counts");
    let (_, seen) = stored(&here).await;
    let waiting = tokio::spawn({
        let here = here.clone();
        async move { here.changed(&counter(), seen).await }
    });
    sleep(Duration::from_millis(100)).await;
    assert_eq!(add_one(&there).await.expect("it counts"), 2);
    timeout(Duration::from_secs(10), waiting).await.expect("in time").expect("well").expect("woken");
}
