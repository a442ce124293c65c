//! What operators use: health, metrics, the document, request ids, settings.

use crate::support::{Account, Connection, Frontend, Server, shared_account};
use serde_json::json;

#[tokio::test]
async fn a_running_server_is_live_and_ready() {
    let account = shared_account();
    let mut connection = Connection::open(account.address()).await;
    for path in ["/health/live", "/health/ready"] {
        let answer = connection.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_code() {
    let server = Server::start();
    // Each frontend counts what came to it.
    let account = Account::of(&server, "x").on_one_frontend();
    for _ in 0..3 {
        account.count("n", 1).await;
    }
    account.db("{}").await.invalid("");
    account.list("{}").await.ok();
    account.watch(r#"{"ID":"k","Version":0,"Wait":0}"#).await;
    let mut connection = Connection::open(account.address()).await;
    connection.get("/some/path/of/no/use").await;
    let metrics = connection.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    for (route, code, count) in [("/db", 200, 3), ("/db", 400, 1), ("/list", 200, 1), ("/watch", 204, 1)] {
        let (route, code) = (format!("route=\"{route}\""), format!("code=\"{code}\""));
        let line = text.lines().find(|line| line.contains(&route) && line.contains(&code));
        let line = line.unwrap_or_else(|| panic!("no line with {route} and {code} in {text}"));
        assert!(line.ends_with(&format!(" {count}")), "{line}");
    }
    assert!(!text.contains("of/no/use"), "clients must not be able to make labels");
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    let account = shared_account();
    let mut connection = Connection::open(account.address()).await;
    let document = connection.get("/openapi.json").await.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for path in ["/db/{account}", "/watch/{account}", "/list/{account}"] {
        let operation = &document["paths"][path]["post"];
        assert!(operation["requestBody"]["content"]["application/json"].is_object(), "{path}");
        for status in ["200", "400", "413", "415", "503"] {
            assert!(operation["responses"][status].is_object(), "{path} {status}");
        }
    }
    assert!(document["paths"]["/db/{account}"]["post"]["responses"]["409"].is_object());
    assert!(document["paths"]["/watch/{account}"]["post"]["responses"]["204"].is_object());
    let docs = connection.get("/docs").await;
    assert_eq!(docs.status, 200);
    assert!(docs.header("content-type").unwrap().starts_with("text/html"));
    let example = &document["paths"]["/db/{account}"]["post"]["requestBody"]["content"]["application/json"]["examples"]
        ["lock"];
    assert!(docs.text().contains(example["summary"].as_str().unwrap()), "the page shows another document");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let account = shared_account();
    let mut connection = Connection::open(account.address()).await;
    let db = account.path("db");
    let mut ids = Vec::new();
    for request in [
        "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        format!("GET {db} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("POST {db} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"),
        format!("POST {db} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{{}}"),
    ] {
        let answer = connection.exchange(request.as_bytes()).await;
        ids.push(answer.header("x-request-id").unwrap_or_else(|| panic!("{request}: {answer:?}")).to_owned());
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn settings_come_from_the_environment_too() {
    // Flags that say the same are given beside it; the limit comes from the environment alone.
    let server = Server::start_with(&[("DRAGON_LIMIT_KEY_BYTES", "10")]);
    let account = Account::of(&server, "x");
    account.set("0123456789", "1").await;
    account.db(r#"{"KVGet":[{"Key":"01234567890"}]}"#).await.invalid("Key");
    let folder = tempfile::tempdir().unwrap();
    let store = format!("embedded:{}", folder.path().join("data").display());
    let server =
        Server::start_from_environment(&[("DRAGON_LISTEN", "127.0.0.1:0"), ("DRAGON_STORE", &store)]);
    Account::of(&server, "x").set("k", "1").await;
    assert!(folder.path().join("data").is_dir());
}

#[test]
fn settings_that_can_not_be_are_refused_with_their_name() {
    for (arguments, name) in [
        (vec!["serve", "--store", "nonsense:x"], "--store"),
        (vec!["serve", "--listen", "nowhere"], "--listen"),
        (vec!["serve", "--no-such-flag"], "--no-such-flag"),
        (vec!["no-such-command"], "no-such-command"),
    ] {
        let exit = Frontend::run_to_end(&arguments);
        assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
        assert!(exit.log.contains(name), "{exit:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let account = shared_account();
    let address = account.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let store = format!("embedded:{}", folder.path().join("data").display());
    let exit = Frontend::run_to_end(&["serve", "--listen", &address, "--store", &store]);
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert!(exit.log.contains(&address), "{exit:?}");
    assert_eq!(account.count("n", 1).await, 1);
}

#[tokio::test]
async fn a_store_in_memory_forgets() {
    let server =
        Server::start_from_environment(&[("DRAGON_LISTEN", "127.0.0.1:0"), ("DRAGON_STORE", "memory:")]);
    let account = Account::of(&server, "x");
    assert_eq!(account.count("n", 1).await, 1);
    assert_eq!(account.list("{}").await.ok(), json!({"KV": []}));
}

#[tokio::test]
async fn the_log_has_the_requests_that_it_is_to_have() {
    let settings = [("DRAGON_LISTEN", "127.0.0.1:0"), ("DRAGON_STORE", "memory:")];
    for (which, has_all) in [("off", false), ("failed", false), ("all", true)] {
        let mut server =
            Server::start_from_environment(&[&settings[..], &[("DRAGON_ACCESS_LOG", which)]].concat());
        let account = Account::of(&server, "secret-account");
        account.count("n", 1).await;
        server.terminate();
        let log = server.wait_for_exit().log;
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("route=\"/db\"")).collect();
        assert_eq!(lines.len(), usize::from(has_all), "{which}: {log}");
        for line in lines {
            assert!(
                line.contains("request_id=") && line.contains("code=200") && line.contains("took="),
                "{line}"
            );
        }
        assert!(!log.contains("secret-account"), "the log tells accounts: {log}");
    }
}
