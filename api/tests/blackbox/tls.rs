//! TLS, spoken to by curl and openssl: both versions of HTTP, waiting and hanging up, certificates that change, and clients
//! that must have one.

use crate::support::{PATIENCE, Server, eventually};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use tempfile::{TempDir, tempdir};

/// Two authorities, a certificate of the first for this machine, and one of each for a client.
const MAKE: &str = r#"
authority() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"; }
signed() {
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$2.key" -out "$2.csr"
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > extensions
    openssl x509 -req -in "$2.csr" -CA "$1.pem" -CAkey "$1.key" -CAcreateserial -days 2 -extfile extensions -out "$2.pem"
}
authority ca
authority other
signed ca server
signed ca renewed
signed ca client
signed other stranger
"#;

struct Certificates(TempDir);

impl Certificates {
    fn make() -> Self {
        let folder = tempdir().unwrap();
        let made = Command::new("sh").args(["-ec", MAKE]).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(folder)
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn server(&self, settings: &[(&'static str, &str)]) -> Tls<'_> {
        let path = |name: &str| self.folder().join(name).display().to_string();
        let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
        let mut all = vec![("DRAGON_TLS_CERT", &*cert), ("DRAGON_TLS_KEY", &*key)];
        all.extend_from_slice(settings);
        for setting in &mut all {
            if setting.0 == "DRAGON_TLS_CLIENT_CA" {
                setting.1 = &ca;
            }
        }
        let server = Server::start_with(&all);
        let port = server.address().port();
        let tls = Tls { certificates: self, server, port };
        let begun = Instant::now();
        while !tls.curl(&["/health/ready"]).status.success() {
            assert!(begun.elapsed() < PATIENCE, "never ready");
        }
        tls
    }
}

/// A server that speaks TLS.
struct Tls<'a> {
    certificates: &'a Certificates,
    server: Server,
    port: u16,
}

impl Tls<'_> {
    /// curl, which believes the authority and has a certificate.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--cacert", "ca.pem", "--cert", "client.pem", "--key", "client.key"]);
        let port = self.port;
        for argument in arguments {
            match argument.strip_prefix('/') {
                Some(path) => command.arg(format!("https://localhost:{port}/{path}")),
                None => command.arg(argument),
            };
        }
        command.current_dir(self.certificates.folder());
        command
    }

    fn curl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn answer(&self, arguments: &[&str]) -> String {
        let output = self.curl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// How many wait for the lock `l`, if it is held.
    fn waiting(&self) -> Option<u64> {
        let list = self.answer(&["--json", r#"{"Kind":"Locks"}"#, "/list/a"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        Some(list["Locks"].get(0)?["Waiting"].as_u64().unwrap_or_default())
    }

    /// The name in the certificate that the server shows.
    fn shown_name(&self) -> String {
        let script = format!(
            "openssl s_client -connect localhost:{} < /dev/null 2> /dev/null | openssl x509 -noout -subject",
            self.port
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_and_a_waiter_can_hang_up() {
    let certificates = Certificates::make();
    let tls = certificates.server(&[]);
    let lock = r#"{"LockID":"l","LockDur":60}"#;
    let wait = r#"{"LockID":"l","LockDur":60,"LockWait":60}"#;
    for (version, name) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = tls.answer(&[
            version,
            "-w",
            " %{http_version}",
            "--json",
            r#"{"Atomic":[{"Key":"n","Add":1}]}"#,
            "/db/a",
        ]);
        assert!(answer.contains("\"Value\":") && answer.ends_with(&format!(" {name}")), "{answer}");
        let held: serde_json::Value =
            serde_json::from_str(&tls.answer(&[version, "--json", lock, "/db/a"])).unwrap();

        let waiting = |count: u64| (tls.waiting() == Some(count)).then_some(());
        let mut gone = tls.begin(&[version, "--json", wait, "/db/a"]);
        eventually("the first waits", || async { waiting(1) }).await;
        let patient = tls.begin(&[version, "--json", wait, "/db/a"]);
        eventually("the second waits", || async { waiting(2) }).await;
        gone.kill().unwrap();
        gone.wait().unwrap();
        eventually("the first is gone", || async { waiting(1) }).await;
        tls.answer(&[
            version,
            "--json",
            &format!(r#"{{"UnlockID":"l","Unlock":{}}}"#, held["Lock"]),
            "/db/a",
        ]);
        let got = patient.wait_with_output().unwrap();
        let got: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
        assert!(got["Lock"].as_u64() > held["Lock"].as_u64(), "{got}");
        tls.answer(&[version, "--json", &format!(r#"{{"UnlockID":"l","Unlock":{}}}"#, got["Lock"]), "/db/a"]);
    }
    // Who does not encrypt, or does not believe the authority, gets nowhere.
    let url = format!("http://localhost:{}/health/live", tls.port);
    assert!(!Command::new("curl").args(["-sS", &url]).output().unwrap().status.success());
    assert!(!tls.curl(&["--cacert", "other.pem", "/health/live"]).status.success());
    assert!(!tls.curl(&["--tls-max", "1.1", "/health/live"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_and_a_wrong_one_is_not() {
    let certificates = Certificates::make();
    let tls = certificates.server(&[]);
    let replace = |from: &str, to: &str| {
        std::fs::copy(certificates.folder().join(from), certificates.folder().join(to)).unwrap();
    };
    let is_current = |value: &str| {
        let line = format!("dragon_reload_is_current{{file=\"tls\"}} {value}");
        tls.answer(&["/metrics"]).lines().any(|metric| metric == line).then_some(())
    };
    assert!(tls.shown_name().ends_with("server"), "{}", tls.shown_name());
    // For a moment the certificate has another key.
    replace("renewed.pem", "server.pem");
    eventually("the mistake is told", || async { is_current("0") }).await;
    assert!(tls.shown_name().ends_with("server"), "{}", tls.shown_name());
    replace("renewed.key", "server.key");
    eventually("it is taken", || async { tls.shown_name().ends_with("renewed").then_some(()) }).await;
    eventually("it is told", || async { is_current("1") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_can_be_made_to_have_a_certificate() {
    let certificates = Certificates::make();
    let tls = certificates.server(&[("DRAGON_TLS_CLIENT_CA", "")]);
    tls.answer(&["--json", r#"{"KVGet":[{"Key":"k"}]}"#, "/db/a"]);
    let url = format!("https://localhost:{}/health/live", tls.port);
    let without = Command::new("curl")
        .args(["-sS", "--cacert", "ca.pem", &url])
        .current_dir(certificates.folder())
        .output();
    assert!(!without.unwrap().status.success(), "a client without a certificate was served");
    assert!(!tls.curl(&["--cert", "stranger.pem", "--key", "stranger.key", "/health/live"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_over_http_2_is_told_when_the_server_goes_down() {
    let certificates = Certificates::make();
    let mut tls = certificates.server(&[]);
    tls.answer(&["--json", r#"{"LockID":"l","LockDur":60}"#, "/db/a"]);
    let wait = r#"{"LockID":"l","LockDur":60,"LockWait":60}"#;
    let waiting = tls.begin(&["--http2", "--no-fail", "-w", " %{http_code}", "--json", wait, "/db/a"]);
    eventually("it waits", || async { (tls.waiting() == Some(1)).then_some(()) }).await;
    tls.server.terminate();
    let told = String::from_utf8(waiting.wait_with_output().unwrap().stdout).unwrap();
    assert!(told.contains("unavailable") && told.ends_with(" 503"), "{told}");
    assert_eq!(tls.server.wait_for_exit().code, Some(0));
}

/// It has agreed on HTTP/2, and then says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_keeps_no_server_from_going_down() {
    let certificates = Certificates::make();
    let mut tls = certificates.server(&[("DRAGON_DRAIN_DELAY", "0")]);
    let mut silent = Command::new("openssl")
        .args(["s_client", "-alpn", "h2", "-connect", &format!("localhost:{}", tls.port)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(silent.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line == "ALPN protocol: h2"), "they did not agree");
    tls.server.terminate();
    let exit = tls.server.wait_for_exit();
    assert!(exit.code == Some(0) && !exit.log.contains("did not finish in time"), "{}", exit.log);
    silent.kill().unwrap();
    silent.wait().unwrap();
}
