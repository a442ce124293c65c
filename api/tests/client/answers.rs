//! Answers that no server of today gives: of a later one, or of something else that answers in its place.

use crate::place::{account_at, seconds};
use crate::scripted::{self, Reply};
use dragon_client::{Code, Error, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a write is told when it is answered so, in these bytes.
async fn told(status: &str, headers: &str, body: &str) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let account = account_at(listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    let bytes = [head.as_bytes(), body.as_bytes()].concat();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_buf(&mut Vec::with_capacity(4_096)).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        // Open until the client has read it.
        drop(stream.read_buf(&mut Vec::with_capacity(1)).await);
    });
    let error = account.transact(Request::new().add("n", 1)).await.unwrap_err();
    answering.abort();
    error
}

#[tokio::test]
async fn codes_that_are_not_known_are_kept_as_text() {
    let error = told("418 I'm a teapot", "", r#"{"Code":"too_hot","Message":"m","Degrees":99}"#).await;
    assert_eq!(error.code(), Some(&Code::Other("too_hot".to_owned())));
    assert!(!error.is_retryable() && !error.is_outcome_unknown());
    assert_eq!(error.to_string(), "too_hot: m");
}

#[tokio::test]
async fn retry_after_is_read() {
    let body = r#"{"Code":"unavailable","Message":"m"}"#;
    let error = told("503 Service Unavailable", "Retry-After: 7\r\n", body).await;
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert_eq!(error.retry_after(), Some(seconds(7)));
}

#[tokio::test]
async fn an_unknown_outcome_is_told_from_a_passing_refusal() {
    let error = told("503 Service Unavailable", "", r#"{"Code":"outcome_unknown","Message":"m"}"#).await;
    assert!(!error.is_retryable() && error.is_outcome_unknown());
}

#[tokio::test]
async fn what_answers_in_the_servers_place_is_no_cloud_dragon() {
    let error = told("502 Bad Gateway", "", "<html>gone</html>").await;
    assert!(matches!(&error, Error::NotCloudDragon { status: 502, detail } if detail == "<html>gone</html>"));
    assert!(error.is_outcome_unknown(), "a gateway does not say whether it has passed the request on");
    let error = told("200 OK", "", "<html>welcome</html>").await;
    assert!(matches!(error, Error::NotCloudDragon { status: 200, .. }), "{error:?}");
    assert!(error.is_outcome_unknown(), "it may have changed the answer alone");
    // Followed, the request would become another one.
    let error = told("302 Found", "Location: http://127.0.0.1:1/\r\n", "").await;
    assert!(matches!(error, Error::NotCloudDragon { status: 302, .. }), "{error:?}");
    assert!(!error.is_outcome_unknown());
}

#[tokio::test]
async fn a_wrong_url_is_told_at_once_and_a_gateways_trouble_is_waited_out() {
    const DONE: Reply = Some(("200 OK", r#"{"Atomic":[{"Key":"n","Value":1}]}"#));
    for status in ["200 OK", "201 Created", "204 No Content"] {
        let welcome = Some((status, if status.starts_with("204") { "" } else { "<html>welcome</html>" }));
        let account = account_at(scripted::server(vec![welcome, DONE]).await);
        let error = account.add("n", 1).await.unwrap_err();
        assert!(matches!(error, Error::NotCloudDragon { status: 200..=299, .. }), "{error:?}");
        let account = account_at(scripted::server(vec![welcome]).await);
        let error = account.lock("l").wait(seconds(60)).acquire().await.unwrap_err();
        assert!(matches!(error, Error::NotCloudDragon { status: 200..=299, .. }), "{error:?}");
    }
    for status in ["500 Internal Server Error", "501 Not Implemented", "504 Gateway Timeout", "520 ?"] {
        let account = account_at(scripted::server(vec![Some((status, "")), DONE]).await);
        assert_eq!(account.add("n", 1).await.unwrap(), 1);
    }
}
