//! The commands that move accounts, as processes: from a server into files and folders, and back.

use crate::support::{Account, Exit, Frontend, Server, eventually};
use crate::transfer::{export, fill, rows};
use std::path::Path;
use tempfile::tempdir;

async fn run(arguments: &[&str], settings: &[(&'static str, String)]) -> Exit {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let settings = settings.to_vec();
    let running = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Frontend::run_to_end_with(&arguments, &settings)
    });
    running.await.unwrap()
}

/// Runs a command that must succeed.
pub async fn succeed_with(arguments: &[&str], settings: &[(&'static str, String)]) -> Exit {
    let exit = run(arguments, settings).await;
    assert_eq!(exit.code, Some(0), "{arguments:?}: {}", exit.log);
    exit
}

/// Runs a command that must fail, and gives what it says.
pub async fn fail_with(arguments: &[&str], settings: &[(&'static str, String)]) -> String {
    let exit = run(arguments, settings).await;
    assert!(exit.code.is_some_and(|code| code != 0), "{arguments:?}: {}", exit.log);
    exit.log
}

async fn succeed(arguments: &[&str]) -> String {
    succeed_with(arguments, &[]).await.log
}

async fn fail(arguments: &[&str]) -> String {
    fail_with(arguments, &[]).await
}

/// From the server, whatever its store is, into a folder that nobody serves, and back.
#[tokio::test]
async fn accounts_move_between_a_server_and_a_folder() {
    let server = Server::start();
    let url = format!("http://{}", server.address());
    let (one, other) = (Account::of(&server, "one"), Account::of(&server, "other_2.b"));
    fill(&one, "x").await;
    other.set("k", "1").await;
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (files, again, one_file) = (path("files"), path("again"), path("one.ndjson"));
    let store = format!("embedded:{}", path("data"));

    let log = succeed(&["export", "--server", &url, "--all", "--output", &files]).await;
    assert!(log.contains("exported one: 2018 rows") && log.contains("exported other_2.b: 1 rows"), "{log}");
    let log = succeed(&["import", "--store", &store, "--all", "--input", &files]).await;
    assert!(log.contains("imported one: 2018 rows"), "{log}");
    let refused = fail(&["import", "--store", &store, "--all", "--input", &files]).await;
    assert!(refused.contains("one: the account is not empty"), "{refused}");
    succeed(&["import", "--store", &store, "--all", "--input", &files, "--replace"]).await;
    succeed(&["export", "--store", &store, "--all", "-o", &again]).await;
    for name in ["one", "other_2.b"] {
        let read = |folder: &str| std::fs::read(Path::new(folder).join(format!("{name}.ndjson"))).unwrap();
        assert!(rows(&read(&files)) == rows(&read(&again)), "{name}");
    }
    assert_eq!(std::fs::read_dir(&again).unwrap().count(), 2, "nothing but the accounts");

    succeed(&["export", "--store", &store, "--account", "one", "-o", &one_file]).await;
    let refused = fail(&["import", "--server", &url, "--account", "one", "-i", &one_file]).await;
    assert!(refused.contains("not_empty"), "{refused}");
    let before = export(&one).await;
    one.set("lost", "1").await;
    succeed(&["import", "--server", &url, "--account", "one", "-i", &one_file, "--replace"]).await;
    assert!(rows(&export(&one).await) == rows(&before));
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let server = Server::start();
    let url = format!("http://{}", server.address());
    Account::of(&server, "a").set("k", "1").await;
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let file = path("a.ndjson");
    succeed(&["export", "--server", &url, "--account", "a", "-o", &file]).await;
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let store = format!("embedded:{}", path("data"));
    for (arguments, told) in [
        (vec!["import", "--server", &url, "--account", "b", "-i", &file], "invalid_request"),
        (vec!["import", "--store", &store, "--account", "b", "-i", &file], "line 2"),
        (vec!["import", "--store", &store, "--account", "b", "-i", "nowhere"], "nowhere"),
        (vec!["import", "--store", &store, "--all", "-i", &path("data")], "no file that ends with .ndjson"),
        (vec!["export", "--server", "127.0.0.1:1", "--account", "a"], "give its URL"),
        (vec!["export", "--server", "http://127.0.0.1:1", "--account", "a"], "refused"),
        (vec!["export", "--server", &url, "--account", ".."], "an account is"),
        (vec!["export", "--server", &url], "--account"),
        (vec!["export", "--server", &url, "--all"], "--output"),
        (vec!["export", "--server", &url, "--store", &store, "--account", "a"], "cannot be used with"),
    ] {
        let log = fail(&arguments).await;
        assert!(log.contains(told), "{arguments:?}: {log}");
    }
}

#[tokio::test]
async fn a_probe_can_ask_by_the_program() {
    let mut server = Server::start_with(&[("DRAGON_DRAIN_DELAY", "60")]);
    let url = format!("http://{}", server.address());
    // A proxy would answer for itself.
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:1".to_owned())];
    succeed_with(&["health", "--server", &url], &proxy).await;
    server.terminate();
    let refused = eventually("it is not ready", async || {
        let exit = run(&["health", "--server", &url], &[]).await;
        (exit.code == Some(1)).then_some(exit.log)
    })
    .await;
    assert!(refused.contains("unavailable: "), "{refused}");
    succeed(&["health", "--live", "--server", &url]).await;
    server.kill();
    assert!(fail(&["health", "--live", "--server", &url]).await.contains(&url));
    fail(&["health", "--server", "8080"]).await;
}
