//! HTTP around the requests: paths, methods, media types, hosts and origins.

use crate::support::{Account, Answer, Connection, shared_account};
use serde_json::json;

const BODY: &str = r#"{"Atomic":[{"Key":"n","Add":1}]}"#;

async fn post(account: &Account, headers: &str) -> Answer {
    let (path, length) = (account.path("db"), BODY.len());
    let request = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{BODY}");
    Connection::open(account.address()).await.exchange(request.as_bytes()).await
}

#[tokio::test]
async fn json_may_be_declared_or_not() {
    let account = shared_account();
    let own = "Host: localhost\r\n";
    post(&account, own).await.ok();
    for media_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
    ] {
        post(&account, &format!("{own}Content-Type: {media_type}\r\n")).await.ok();
    }
    for media_type in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/html",
        "application/octet-stream",
        "application/jsonx",
    ] {
        let answer = post(&account, &format!("{own}Content-Type: {media_type}\r\n")).await;
        let message = answer.refused(415, "unsupported_media_type", json!({}));
        assert!(message.contains("application/json") && message.contains("Content-Type"), "{message}");
    }
    assert_eq!(account.count("n", 0).await, 5);
}

#[tokio::test]
async fn other_methods_are_405_and_other_paths_404() {
    let account = shared_account();
    let mut connection = Connection::open(account.address()).await;
    for route in ["db", "watch", "list"] {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let request = format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n\r\n", account.path(route));
            let answer = connection.exchange(request.as_bytes()).await;
            answer.refused(405, "method_not_allowed", json!({}));
        }
    }
    let request = "POST /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let answer = connection.exchange(request.as_bytes()).await;
    answer.refused(405, "method_not_allowed", json!({}));
    for path in
        ["/", "/db", "/db/", "/db/a/b", "/nothing", "/DB/a", "/db/a/", "/watch", "/list", "/health/", "/%ff"]
    {
        for method in ["GET", "POST"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}");
            let answer = connection.exchange(request.as_bytes()).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            answer.refused(404, "not_found", json!({}));
        }
    }
}

#[tokio::test]
async fn a_page_elsewhere_must_not_use_a_loopback_server() {
    // A frontend's own host names have its port.
    let account = shared_account().on_one_frontend();
    let port = account.address().port();
    let own = [
        "Host: localhost\r\n".to_owned(),
        format!("Host: localhost:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\n"),
        format!("Host: LOCALHOST:{port}\r\nOrigin: http://localhost:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"),
    ];
    for headers in &own {
        post(&account, headers).await.ok();
    }
    for headers in [
        format!("Host: evil.example:{port}\r\n"),
        "Host: localhost.evil.example\r\n".into(),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:1\r\n"),
        "Host: evil.example\r\nOrigin: http://evil.example\r\n".to_owned(),
    ] {
        post(&account, &headers).await.refused(403, "forbidden", json!({}));
    }
    assert_eq!(account.count("n", 0).await, own.len() as i64);
}
