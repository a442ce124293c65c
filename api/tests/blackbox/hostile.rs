//! What a client may do to a server, by mistake or not: huge, deep, slow and broken requests. The
//! server refuses them and goes on serving others.

use crate::support::{Connection, json_text, request_bytes, shared_account};
use serde_json::json;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn deep_nesting_is_refused_wherever_it_is() {
    let account = shared_account();
    let open = "[".repeat(100_000);
    let closed = open.clone() + &"]".repeat(100_000);
    let objects = r#"{"a":"#.repeat(100_000);
    for body in [&open, &closed, &objects, &(objects.clone() + "1" + &"}".repeat(100_000))] {
        for route in ["db", "watch", "list"] {
            account.begin(route, body).await.answer().await.invalid("");
        }
    }
    for (deep, field) in [(&closed, "Value"), (&open, ""), (&objects, "")] {
        let body = format!(r#"{{"KVSet":[{{"Key":"k","Value":{deep}}}]}}"#);
        account.db(body).await.invalid(field);
    }
    let body = format!(r#"{{"KVGet":[{{"Key":"k"}}],"Unknown":{closed}}}"#);
    account.db(body).await.invalid("Unknown");
    assert_eq!(account.next_revision().await, 1);
}

#[tokio::test]
async fn a_body_may_have_8_mib_and_no_more() {
    let account = shared_account();
    let body = |bytes: usize| {
        let mut body = br#"{"KVSet":[{"Key":"k","Value":1}]}"#.to_vec();
        body.resize(bytes, b' ');
        body
    };
    account.db(body(8 * MIB)).await.ok();
    let large = body(8 * MIB + 1);
    account.db(&large).await.refused(413, "payload_too_large", json!({}));
    let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", account.path("db"));
    for (bytes, status) in [(8 * MIB, 200), (8 * MIB + 1, 413), (9 * MIB, 413)] {
        let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body(bytes).chunks(65_000) {
            chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let answer = Connection::open(account.address()).await.exchange(&chunked).await;
        assert_eq!(answer.status, status, "{bytes} bytes in chunks: {}", answer.text());
    }
    assert_eq!(account.get("k").await.0, 2);
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_sent_if_the_client_asks() {
    let account = shared_account();
    let head = |bytes: usize| {
        format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n",
            account.path("db")
        )
    };
    let mut connection = Connection::open(account.address()).await;
    let answer = connection.exchange(head(9 * MIB).as_bytes()).await;
    answer.refused(413, "payload_too_large", json!({}));
    let body = br#"{"KVSet":[{"Key":"k","Value":1}]}"#;
    let mut connection = Connection::open(account.address()).await;
    let leave = connection.exchange(head(body.len()).as_bytes()).await;
    assert_eq!(leave.status, 100);
    connection.exchange(body).await.ok();
}

#[tokio::test]
async fn a_value_over_1_mib_is_too_large_and_one_of_many_is_named() {
    let account = shared_account();
    let large = json_text(&"x".repeat(MIB - 1));
    let body = format!(r#"{{"KVSet":[{{"Key":"ok","Value":1}},{{"Key":"k","Value":{large}}}]}}"#);
    let message = account.db(body).await.refused(413, "payload_too_large", json!({}));
    assert!(message.contains("Value"), "{message}");
    assert_eq!(account.get("ok").await, (0, None));
    // What counts is the JSON as sent, in bytes.
    let escapes = format!("\"{}\"", "\\u0041".repeat(MIB / 6));
    assert!(escapes.len() <= MIB);
    account.set("escapes", &escapes).await;
    let wide = json_text(&"é".repeat(MIB / 2));
    let body = format!(r#"{{"KVSet":[{{"Key":"k","Value":{wide}}}]}}"#);
    account.db(body).await.refused(413, "payload_too_large", json!({}));
}

#[tokio::test]
async fn slow_clients_hold_nobody_up() {
    let account = shared_account();
    let request = request_bytes(&account.path("db"), br#"{"Atomic":[{"Key":"n","Add":1}]}"#);
    let mut slow = Vec::new();
    for at in 0..100 {
        // Stopped in the request line, in the headers, in the body.
        let sent = [10, 60, request.len() - 10][at % 3];
        let mut connection = Connection::open(account.address()).await;
        connection.send(&request[..sent]).await.unwrap();
        slow.push((connection, &request[sent..]));
    }
    for count in 1..=20 {
        assert_eq!(account.count("fast", 1).await, count);
    }
    assert_eq!(account.count("n", 0).await, 0);
    for (mut connection, rest) in slow {
        connection.exchange(rest).await.ok();
    }
    assert_eq!(account.count("n", 0).await, 100);
}

#[tokio::test]
async fn a_request_cut_off_in_its_body_is_not_applied() {
    let account = shared_account();
    let request = request_bytes(&account.path("db"), br#"{"Atomic":[{"Key":"n","Add":1}]}          "#);
    for cut in [1, 5, 10] {
        // Even where the part that came is whole JSON.
        let mut connection = Connection::open(account.address()).await;
        connection.send(&request[..request.len() - cut]).await.unwrap();
        drop(connection);
    }
    assert_eq!(account.next_revision().await, 1);
    assert_eq!(account.count("n", 0).await, 0);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_others_are_served() {
    let account = shared_account();
    for garbage in
        [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"[..], b"HELLO\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut connection = Connection::open(account.address()).await;
        connection.send(garbage).await.unwrap();
        let answer = connection.try_receive().await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400));
    }
    assert_eq!(account.count("n", 1).await, 1);
}

#[tokio::test]
async fn two_lengths_or_an_absurd_one_are_refused() {
    let account = shared_account();
    let body = r#"{"Atomic":[{"Key":"n","Add":1}]}"#;
    let length = body.len();
    for headers in [
        format!("Content-Length: {length}\r\nContent-Length: {}", length + 1),
        format!("Content-Length: {length}x"),
        "Content-Length: 99999999999999999999999".into(),
        "Content-Length: -1".into(),
        "Transfer-Encoding: chunked, gzip".into(),
    ] {
        let request =
            format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}", account.path("db"));
        let mut connection = Connection::open(account.address()).await;
        connection.send(request.as_bytes()).await.unwrap();
        let answer = connection.try_receive().await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400), "{headers}");
    }
    assert_eq!(account.count("n", 0).await, 0);
}
