//! Traces: what a collector gets.

use crate::support::{Account, Connection, Server, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What takes OTLP over HTTP and keeps it.
struct Collector {
    address: SocketAddr,
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), exports: Arc::default() };
        let exports = Arc::clone(&collector.exports);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&exports)));
            }
        });
        collector
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let of_resources = exports.iter().flat_map(|export| &export.resource_spans);
        of_resources.flat_map(|spans| &spans.scope_spans).flat_map(|spans| spans.spans.clone()).collect()
    }
}

/// Takes the requests of one connection.
async fn take(mut stream: TcpStream, exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>) {
    let mut input = Vec::new();
    loop {
        let head = input.windows(4).position(|window| window == b"\r\n\r\n");
        let whole = head.and_then(|head| {
            let text = String::from_utf8_lossy(&input[..head]).to_lowercase();
            assert!(
                text.starts_with("post /v1/traces ") && text.contains("application/x-protobuf"),
                "{text}"
            );
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let body = head + 4..head + 4 + length.parse::<usize>().unwrap();
            (input.len() >= body.end).then_some(body)
        });
        if let Some(body) = whole {
            let export = ExportTraceServiceRequest::decode(&input[body.clone()]).unwrap();
            exports.lock().unwrap().push(export);
            input.drain(..body.end);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        } else if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

/// Asks something as a part of a trace, on the fast path or past it.
async fn ask(address: SocketAddr, path: &str, traceparent: &str, more: &str) -> u16 {
    let body = r#"{"KVGet":[{"Key":"secret-key"}]}"#;
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n{more}");
    let request = format!("{head}traceparent: {traceparent}\r\nContent-Length: {length}\r\n\r\n{body}");
    Connection::open(address).await.exchange(request.as_bytes()).await.status
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

// The collector takes what comes while the test waits for the server.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_parts_of_their_clients_traces() {
    let collector = Collector::start().await;
    let mut server = Server::start_with(&[
        ("DRAGON_OTLP_ENDPOINT", &collector.endpoint()),
        ("DRAGON_TRACE_RATIO", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests"),
        ("DRAGON_ACCESS_LOG", "all"),
    ]);
    let address = server.address();
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(ask(address, "/db/secret-account", &sampled, "").await, 200);
    // Past the fast path.
    assert_eq!(ask(address, "/db/secret-account", &sampled, "Connection: close\r\n").await, 200);
    assert_eq!(ask(address, "/nothing", &sampled, "").await, 404);
    for ignored in [format!("00-{TRACE}-{PARENT}-00"), "00-xyz-01".into(), "é".into()] {
        assert_eq!(ask(address, "/db/secret-account", &ignored, "").await, 200);
    }
    Account::of(&server, "secret-account").get("secret-key").await;
    server.terminate();
    let exit = server.wait_for_exit();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(exit.log.contains(TRACE), "the log tells the trace: {}", exit.log);

    let spans = collector.spans();
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["POST /db", "POST /db", "_OTHER other"]);
    for span in &spans {
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
        assert_eq!(attribute(span, "dragon.request_id").unwrap(), "mine");
        let code = if span.name == "POST /db" { "200" } else { "404" };
        assert_eq!(attribute(span, "http.response.status_code").unwrap(), code);
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    }
    let exports = format!("{:?}", collector.exports.lock().unwrap());
    for said in ["service.name", "cloud-dragon", "deployment.environment"] {
        assert!(exports.contains(said), "{said} is missing in {exports}");
    }
    assert!(!exports.contains("secret"), "names of accounts and keys are nobody's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_the_server_is_marked() {
    let collector = Collector::start().await;
    let mut server =
        Server::start_with(&[("DRAGON_OTLP_ENDPOINT", &collector.endpoint()), ("DRAGON_DRAIN_DELAY", "1")]);
    let account = Account::of(&server, "x");
    let watching = account.begin("watch", r#"{"ID":"k","Version":0,"Wait":300}"#).await;
    account.get("k").await;
    server.terminate();
    assert_eq!(watching.answer().await.status, 503);
    assert_eq!(server.wait_for_exit().code, Some(0));
    let spans = collector.spans();
    let failed = spans.iter().find(|span| span.name == "POST /watch").unwrap();
    assert_eq!(failed.status.as_ref().unwrap().code(), StatusCode::Error);
    assert!(failed.parent_span_id.is_empty() && failed.trace_id.iter().any(|byte| *byte != 0));
    let served = spans.iter().find(|span| span.name == "POST /db").unwrap();
    assert_ne!(served.trace_id, failed.trace_id);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up() {
    for listens in [false, true] {
        check_without_collector(listens).await;
    }
}

/// Nobody listens, or somebody does and never answers.
async fn check_without_collector(listens: bool) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let _silent = listens.then_some(silent);
    let mut server = Server::start_with(&[("DRAGON_OTLP_ENDPOINT", &endpoint), ("DRAGON_DRAIN_DELAY", "0")]);
    let account = Account::of(&server, "x");
    for count in 1..=50 {
        assert_eq!(account.count("n", 1).await, count);
    }
    eventually("the server is ready", async || {
        (Connection::open(server.address()).await.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    server.terminate();
    let exit = server.wait_for_exit();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
}
