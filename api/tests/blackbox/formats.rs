//! What earlier versions have stored is read by this one. `api/tests/formats/keep.sh` says how it was kept.

use crate::support::{
    Account, Connection, Server, at_another_time, eventually, faketime_library, only_embedded,
};
use crate::transfer::{export, import, rows};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONTENT_ONCE: &str = r#"{"LockID":"job","LockDur":86400,"LockOwner":"worker-7","IdempotencyIDs":["once","twice"],"IdempotencyTTL":2592000}"#;

/// Each version's folder.
fn versions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let versions: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(versions.len() > 1);
    versions
}

fn text(version: &Path, file: &str) -> String {
    std::fs::read_to_string(version.join(file)).unwrap()
}

/// Starts a server on a store at the time when the version was kept, so that nothing has expired.
fn start_then(version: &Path, store: &str) -> Server {
    let library = faketime_library();
    let kept_at = format!("@{}", text(version, "kept-at").trim());
    let others = [("TZ", "UTC"), ("DRAGON_LISTEN", "127.0.0.1:0"), ("DRAGON_STORE", store)];
    Server::start_from_environment(&[&at_another_time(&library, &kept_at)[..], &others].concat())
}

/// The rows of these kinds, as an export has them.
fn rows_of(file: &[u8], kinds: &[&str]) -> Vec<String> {
    let is_of = |row: &String, kind: &str| row.starts_with(&format!(r#"{{"Kind":"{kind}""#));
    rows(file).into_iter().filter(|row| kinds.iter().any(|kind| is_of(row, kind))).collect()
}

/// It is all there, and goes on from there.
async fn check(server: &Server, kept: &str, kinds: &[&str]) {
    let account = Account::of(server, "main");
    let kept = rows_of(kept.as_bytes(), kinds);
    assert!(kept.len() >= 7, "{kept:?}");
    for name in ["main", "imported"] {
        assert_eq!(rows_of(&export(&account.named(name)).await, kinds), kept, "{name}");
    }
    let set = r#"{"KVSet":[{"Key":"greeting","Value":"again","IfVersion":1}]}"#;
    assert_eq!(account.db(set).await.number("Version"), 7);
    assert_eq!(account.count("up", 1).await, 43);
    let deleted = account.named("deleted");
    assert!(deleted.set("k", "3").await > 2, "a version came again");
}

/// What is not over yet is still so.
async fn check_leases(server: &Server) {
    let account = Account::of(server, "main");
    let held = account.held_lock("job").await.unwrap();
    assert_eq!((&held["Lock"], &held["Owner"]), (&json!(5), &json!("worker-7")));
    let again = account.db(CONTENT_ONCE).await;
    assert_eq!(again.status, 409, "{}", again.text());
    let again = again.json();
    assert_eq!((&again["ID"], &again["SameRequest"]), (&json!("once"), &json!(true)));
    assert_eq!(again["Response"]["Lock"], 5);
    account.unlock("job", 5).await;
}

const ALL: [&str; 4] = ["KV", "Counter", "Lock", "IdempotencyID"];

#[tokio::test]
async fn folders_of_former_versions_are_opened() {
    if !only_embedded("it brings its own stores") {
        return;
    }
    for version in versions() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(version.join("embedded.tar.gz")).arg("-C").arg(folder.path());
        assert!(tar.status().unwrap().success());
        let store = format!("embedded:{}", folder.path().join("data").display());
        let mut server = start_then(&version, &store);
        check(&server, &text(&version, "embedded.ndjson"), &ALL).await;
        check_leases(&server).await;
        server.restart();
        assert_eq!(Account::of(&server, "main").get("greeting").await.1.as_deref(), Some("\"again\""));
    }
}

/// The database's time can't be set back, so leases are over by now.
#[tokio::test]
async fn databases_of_former_versions_are_opened() {
    if !only_embedded("it brings its own stores") {
        return;
    }
    for version in versions() {
        let postgres = dragon_private_postgres::Server::start();
        postgres.execute(&text(&version, "postgres.sql")).await;
        let store = postgres.address("kept");
        let settings = [("DRAGON_LISTEN", "127.0.0.1:0"), ("DRAGON_STORE", store.as_str())];
        let server = Server::start_from_environment(&settings);
        // It is reached in the background.
        eventually("the database is open", async || {
            let answer = Connection::open(server.address()).await.get("/health/ready").await;
            (answer.status == 200).then_some(())
        })
        .await;
        check(&server, &text(&version, "postgres.ndjson"), &["KV", "Counter"]).await;
        assert_eq!(Account::of(&server, "main").get("greeting").await.1.as_deref(), Some("\"again\""));
    }
}

#[tokio::test]
async fn exports_of_former_versions_are_imported() {
    if !only_embedded("it brings its own stores") {
        return;
    }
    for version in versions() {
        let folder = tempfile::tempdir().unwrap();
        let server = start_then(&version, &format!("embedded:{}", folder.path().join("data").display()));
        let file = text(&version, "embedded.ndjson");
        let account = Account::of(&server, "main");
        import(&account, "", file.as_bytes()).await.ok();
        assert_eq!(rows(&export(&account).await), rows(file.as_bytes()));
        check_leases(&server).await;
    }
}
