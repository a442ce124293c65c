//! Plain requests take a short way past the web framework: it must answer as the long way does, to the byte.

use crate::support::Server;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// The lines of an answer's head, in order of the alphabet and without the date, and its body.
fn exchange(stream: &mut TcpStream, request: &str) -> (Vec<String>, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let mut lines: Vec<String> =
        head.trim().lines().map(str::to_owned).filter(|line| !line.starts_with("date: ")).collect();
    lines.sort();
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    (lines, String::from_utf8(body).unwrap())
}

fn request(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn both_ways_answer_alike() {
    let short = Server::start_with(&[("DRAGON_FAST_PATH", "true")]);
    let long = Server::start_with(&[("DRAGON_FAST_PATH", "false")]);
    let connect = |address: SocketAddr| TcpStream::connect(address).unwrap();
    let mut streams = [connect(short.address()), connect(long.address())];
    let json = "Content-Type: application/json\r\n";
    let large = format!(r#"{{"KVSet":[{{"Key":"large","Value":"{}"}}]}}"#, "x".repeat(40_000));
    for request in [
        request("/db/a", json, r#"{"KVSet":[{"Key":"k","Value":{"b": 1}}],"Atomic":[{"Key":"n","Add":1}]}"#),
        request("/db/a", "", r#"{"KVGet":[{"Key":"k"},{"Key":"none"}]}"#),
        request("/db/a", json, &large),
        request("/db/a", json, r#"{"KVGet":[{"Key":"large"}]}"#),
        request("/db/a", json, r#"{"KVSet":[{"Key":"k","Value":1,"IfVersion":7}]}"#),
        request("/db/a", json, r#"{"UnlockID":"l","Unlock":1}"#),
        request("/db/a", json, r#"{"IdempotencyIDs":["i"],"Atomic":[{"Key":"n","Add":1}]}"#),
        request("/db/a", json, r#"{"IdempotencyIDs":["i"],"Atomic":[{"Key":"n","Add":1}]}"#),
        request("/db/a", json, "{}"),
        request("/db/a", json, ""),
        request("/db/a", json, "[]"),
        request("/db/a", json, r#"{"KVGet":[{"Key":"k","Kye":1}]}"#),
        request("/db/a", "Content-Type: text/plain\r\n", "{}"),
        request("/db/a", "Origin: http://evil.example\r\n", "{}"),
        request("/db/..", json, r#"{"KVGet":[{"Key":"k"}]}"#),
        request("/watch/a", json, r#"{"ID":"k","Wait":1}"#),
        request("/watch/a", json, r#"{"ID":"none","Wait":0}"#),
        request("/watch/a", json, r#"{"ID":"none","Wait":301}"#),
        request("/list/a", json, r#"{"Prefix":"k"}"#),
        request("/list/a", json, r#"{"Kind":"Counters","Limit":1}"#),
        request("/list/a", json, r#"{"Limit":0}"#),
    ] {
        let [one, other] = streams.each_mut().map(|stream| exchange(stream, &request));
        assert_eq!(one, other, "{request}");
    }
}
