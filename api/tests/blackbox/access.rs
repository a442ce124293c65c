//! Tokens and rights: who is let in, to what, and that nothing gets around it.

use crate::commands::{fail_with, succeed_with};
use crate::support::{Account, Answer, Connection, Exit, Frontend, Server, eventually};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

const WRITE: &str = r#"{"KVSet":[{"Key":"k","Value":1}]}"#;
const READ: &str = r#"{"KVGet":[{"Key":"k"}]}"#;

/// A file of tokens.
pub struct TokensFile(TempDir);

impl TokensFile {
    pub fn new() -> Self {
        Self(tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("tokens.toml")
    }

    /// Makes a token as operators do.
    pub async fn token(&self, name: &str, accounts: &str, right: &str) -> String {
        let Exit { output, .. } = self.new_token(&[name, "--account", accounts, "--right", right]).await;
        let token = output.trim_end();
        assert!(token.starts_with("dragon_") && token.len() == 71, "{output:?}");
        token.to_owned()
    }

    pub async fn new_token(&self, arguments: &[&str]) -> Exit {
        let path = self.path().display().to_string();
        succeed_with(&[&["token", "new", "--tokens", &path], arguments].concat(), &[]).await
    }

    pub fn server(&self) -> Server {
        Server::start_with(&[("DRAGON_TOKENS", self.path().to_str().unwrap())])
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
    );
    Connection::open(address).await.exchange(request.as_bytes()).await
}

#[track_caller]
fn assert_unauthorized(answer: &Answer) {
    answer.refused(401, "unauthorized", json!({}));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[track_caller]
fn assert_forbidden(answer: &Answer) {
    answer.refused(403, "forbidden", json!({}));
}

#[tokio::test]
async fn tokens_let_in_to_what_they_name_and_no_further() {
    let file = TokensFile::new();
    let reader = file.token("reader", "jobs", "read").await;
    let worker = file.token("worker", "jobs,team-*", "read,write").await;
    let keeper = file.token("keeper", "jobs", "admin").await;
    let root = file.token("root", "*", "admin").await;
    let server = file.server();
    let at = server.address();
    let post = async |path: &str, token: &str, body: &str| ask(at, "POST", path, Some(token), body).await;

    assert_unauthorized(&ask(at, "POST", "/db/jobs", None, WRITE).await);
    for unknown in ["", "dragon_", &reader[1..], &reader[..70], &format!("{reader}0"), &reader.to_uppercase()]
    {
        assert_unauthorized(&post("/db/jobs", unknown, READ).await);
    }
    // A body that is wrong changes nothing about it.
    assert_unauthorized(&ask(at, "POST", "/db/jobs", None, "{").await);
    assert_forbidden(&post("/db/jobs2", &reader, "{").await);
    // Nor does a long one keep the answer from its client.
    let long = "x".repeat(4 << 20);
    assert_unauthorized(&ask(at, "POST", "/db/jobs", None, &long).await);
    assert_forbidden(&post("/db/jobs2", &reader, &long).await);

    for write in [
        WRITE,
        r#"{"LockID":"l","LockDur":9}"#,
        r#"{"Atomic":[{"Key":"n","Add":1}]}"#,
        r#"{"IdempotencyIDs":["i"]}"#,
    ] {
        assert_forbidden(&post("/db/jobs", &reader, write).await);
    }
    post("/db/jobs", &worker, WRITE).await.ok();
    post("/db/team-a", &worker, WRITE).await.ok();
    for (path, body) in [
        ("/db/jobs", r#"{"KVGet":[{"Key":"k"}],"Atomic":[{"Key":"n"}]}"#),
        ("/watch/jobs", r#"{"ID":"k","Version":0}"#),
        ("/list/jobs", "{}"),
    ] {
        post(path, &reader, body).await.ok();
        for (token, other) in
            [(&reader, "team-a"), (&worker, "team"), (&worker, "other"), (&keeper, "team-a")]
        {
            assert_forbidden(&post(&path.replace("jobs", other), token, body).await);
        }
    }
    let get = async |path: &str, token: Option<&str>| ask(at, "GET", path, token, "").await;
    assert_eq!(get("/export/jobs", Some(&keeper)).await.status, 200);
    for (path, token) in [
        ("/export/jobs", &worker),
        ("/accounts/jobs", &worker),
        ("/accounts/other", &keeper),
        ("/export/other", &keeper),
        ("/metrics", &keeper),
        ("/accounts", &keeper),
        ("/backups", &keeper),
    ] {
        assert_forbidden(&get(path, Some(token)).await);
        assert_unauthorized(&get(path, None).await);
    }
    assert_forbidden(&post("/backups", &keeper, "").await);
    for path in ["/export/other", "/metrics", "/accounts"] {
        assert_eq!(get(path, Some(&root)).await.status, 200, "{path}");
    }
    for path in ["/health", "/health/live", "/health/ready", "/openapi.json", "/docs"] {
        assert_eq!(get(path, None).await.status, 200, "{path}");
        assert_eq!(get(path, Some("unknown")).await.status, 200, "{path}");
    }
    let metrics = get("/metrics", Some(&root)).await;
    for secret in ["jobs", "team-a", "worker", &worker] {
        assert!(!metrics.text().contains(secret), "the metrics tell {secret}");
    }
}

/// Whatever the path looks like, either it is no path or the token is asked for.
#[tokio::test]
async fn no_spelling_of_a_path_gets_around_tokens() {
    let file = TokensFile::new();
    let reader = file.token("reader", "jobs*", "read").await;
    let server = file.server();
    let at = server.address();
    for path in [
        "/%6detrics",
        "/metrics/",
        "//metrics",
        "/METRICS",
        "/./metrics",
        "/metrics%2f",
        "/metrics?x=/health",
        "/health/../metrics",
        "/docs/../metrics",
        "/%64b/other",
        "//db/other",
        "/db//other",
        "/DB/other",
        "/docs/..%2fexport%2fother",
        "/export/other",
        "/export/%6fther",
        "/export//other",
        "/accounts/",
        "/db/other",
        "/db/%6fther",
        "/db/jobs/../other",
        "/db/jobs%2f..%2fother",
        "/db/jobs%00",
        "/list/%6F%74her",
        "http://h/metrics",
        "http://h/export/other",
    ] {
        for (method, token) in
            [("GET", None), ("GET", Some(&*reader)), ("POST", None), ("POST", Some(&*reader))]
        {
            let answer = ask(at, method, path, token, READ).await;
            let is_kept_out = matches!(answer.status, 400 | 401 | 403 | 404 | 405);
            assert!(is_kept_out, "{method} {path} was answered {}: {}", answer.status, answer.text());
        }
    }
    // What is only spelled in another way is the same account.
    ask(at, "POST", "/db/j%6fbs", Some(&reader), READ).await.ok();
}

#[tokio::test]
async fn a_changed_file_counts_and_a_broken_one_does_not() {
    let file = TokensFile::new();
    let root = file.token("root", "*", "admin").await;
    let server = file.server();
    let at = server.address();
    let status = async |token: &str| ask(at, "POST", "/db/jobs", Some(token), READ).await.status;
    let is_current = async || {
        let metrics = ask(at, "GET", "/metrics", Some(&root), "").await;
        let line = metrics.text().lines().find(|line| line.starts_with("dragon_reload_is_current"))?;
        Some(line.ends_with(" 1"))
    };
    let later = file.token("later", "jobs", "read").await;
    eventually("the new token", || async { (status(&later).await == 200).then_some(()) }).await;

    let good = std::fs::read_to_string(file.path()).unwrap();
    for broken in [&good[..good.len() - 9], "token = 1"] {
        std::fs::write(file.path(), broken).unwrap();
        eventually("the broken file is told of", || async {
            (is_current().await == Some(false)).then_some(())
        })
        .await;
        assert_eq!(status(&later).await, 200);
    }
    let without_later = &good[..good.rfind("[[token]]").unwrap()];
    std::fs::write(file.path(), without_later).unwrap();
    eventually("the token is taken back", || async { (status(&later).await == 401).then_some(()) }).await;
    assert_eq!(is_current().await, Some(true));
    std::fs::remove_file(file.path()).unwrap();
    eventually("the lost file is told of", || async { (is_current().await == Some(false)).then_some(()) })
        .await;
    assert_eq!(status(&root).await, 200);
}

#[tokio::test]
async fn tokens_expire() {
    let file = TokensFile::new();
    file.new_token(&["short", "--account", "*", "--right", "read", "--expires-in", "1h"]).await;
    let root = file.token("root", "*", "admin").await;
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.contains("expires = "), "{text}");
    let server = file.server();
    assert_eq!(ask(server.address(), "GET", "/metrics", Some(&root), "").await.status, 200);
    let past = text.replace("name = \"root\"", "name = \"root\"\nexpires = \"2026-01-01T00:00:00Z\"");
    std::fs::write(file.path(), past).unwrap();
    eventually("the end", || async {
        let answer = ask(server.address(), "GET", "/metrics", Some(&root), "").await;
        (answer.status == 401).then(|| assert!(answer.text().contains("expired"), "{}", answer.text()))
    })
    .await;
}

#[tokio::test]
async fn the_command_keeps_the_file_in_order() {
    let file = TokensFile::new();
    let path = file.path().display().to_string();
    let new = ["token", "new", "--tokens", &path];
    file.token("a", "*", "read").await;
    let fail = async |more: &[&str]| fail_with(&[&new[..], more].concat(), &[]).await;
    for (more, word) in [
        (&["a", "--account", "x", "--right", "read"][..], "already"),
        (&["b", "--account", "x y", "--right", "read"], "x y"),
        (&["b", "--account", "x", "--right", "own"], "own"),
        (&["b", "--account", "x"], "--right"),
        (&["", "--account", "x", "--right", "read"], "name"),
    ] {
        let said = fail(more).await;
        assert!(said.contains(word), "{said}");
    }
    std::fs::write(file.path(), "tokens = 1").unwrap();
    assert!(fail(&["b", "--account", "x", "--right", "read"]).await.contains("tokens"));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "tokens = 1");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::remove_file(file.path()).unwrap();
    file.token("a", "*", "read").await;
    assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(names(file.0.path()), 1, "nothing else stays in the folder");
}

#[tokio::test]
async fn strangers_are_served_only_where_that_was_said() {
    let refused = async |arguments: &[&str], word: &str| {
        let serve = ["serve", "--store", "memory:"];
        let said = fail_with(&[&serve[..], arguments].concat(), &[]).await;
        assert!(said.contains(word), "{said}");
    };
    refused(&["--listen", "0.0.0.0:0"], "--insecure-no-auth").await;
    refused(&["--listen", "[::]:0"], "--tokens").await;
    refused(&["--tokens", "/nowhere/tokens"], "can't read /nowhere/tokens").await;
    refused(&["--admin-listen", "0.0.0.0:0"], "--admin-listen").await;
    let settings =
        [("DRAGON_LISTEN", "0.0.0.0:0"), ("DRAGON_STORE", "memory:"), ("DRAGON_INSECURE_NO_AUTH", "true")];
    let server = Server::start_from_environment(&settings);
    let port = server.address().port();
    Account::at(&[SocketAddr::from(([127, 0, 0, 1], port))], "a").db(WRITE).await.ok();
}

#[tokio::test]
async fn administration_can_have_an_address_of_its_own() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = free.to_string();
    let common =
        [("DRAGON_STORE", "memory:"), ("DRAGON_LISTEN", "127.0.0.1:0"), ("DRAGON_ADMIN_LISTEN", &text)];
    let file = TokensFile::new();
    let root = file.token("root", "*", "admin").await;
    let tokens = file.path().display().to_string();
    for with_tokens in [false, true] {
        let mut settings = common.to_vec();
        if with_tokens {
            settings.push(("DRAGON_TOKENS", &tokens));
        }
        let server = Server::start_from_environment(&settings);
        let at = server.address();
        let get = async |address, path| ask(address, "GET", path, None, "").await;
        for path in ["/metrics", "/accounts", "/export/a", "/health/ready"] {
            assert_eq!(get(free, path).await.status, 200, "{path}");
        }
        get(free, "/backups").await.refused(409, "backups_off", json!({}));
        ask(free, "POST", "/db/a", None, WRITE).await.refused(404, "not_found", json!({}));
        let foreign = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        assert_forbidden(&Connection::open(free).await.exchange(foreign.as_bytes()).await);
        if with_tokens {
            assert_unauthorized(&get(at, "/metrics").await);
            assert_eq!(ask(at, "GET", "/metrics", Some(&root), "").await.status, 200);
        } else {
            for path in ["/metrics", "/accounts", "/export/a", "/backups"] {
                assert_forbidden(&get(at, path).await);
            }
            ask(at, "POST", "/db/a", None, WRITE).await.ok();
        }
    }
}

#[tokio::test]
async fn commands_bring_a_token() {
    let file = TokensFile::new();
    let (keeper, worker) =
        (file.token("keeper", "a", "admin").await, file.token("worker", "a", "write").await);
    let server = file.server();
    ask(server.address(), "POST", "/db/a", Some(&worker), WRITE).await.ok();
    let url = format!("http://{}", server.address());
    let export = ["export", "--server", &url, "--account", "a"];
    let exported = succeed_with(&export, &[("DRAGON_TOKEN", keeper.clone())]).await;
    assert!(exported.output.contains(r#""Key":"k""#), "{}", exported.output);
    assert!(fail_with(&export, &[("DRAGON_TOKEN", worker)]).await.contains("forbidden"));
    assert!(fail_with(&export, &[]).await.contains("unauthorized"));
    let shown = Frontend::run_to_end_with(&["export", "--help"], &[("DRAGON_TOKEN", keeper.clone())]);
    assert!(!shown.output.contains(&keeper), "the help shows a token");
}
