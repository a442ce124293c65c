//! The fast path's reading of HTTP beside hyper's: what the one takes for a plain request, the other one reads as the same
//! request, with the same body, and finds the next one behind it. Else one client's bytes could be taken for another one's.

use cloud_dragon::fuzzing::{Head, PlainHead, head};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What comes behind each plain request.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nhost: next\r\n\r\n";
/// Of so many beginnings at most it is asked whether they are partial.
const BEGINNINGS_MAX: usize = 64;

/// Takes the input for the beginning of a connection's bytes.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) {
    match head(bytes) {
        Head::Partial(missing) => assert!(missing >= 1),
        Head::Other => {}
        Head::Plain(plain) => {
            assert!(plain.bytes <= bytes.len() && plain.body.len() < plain.bytes);
            let request = &bytes[..plain.bytes];
            assert_eq!(head(request), Head::Plain(plain), "whatever comes behind it");
            check_beginnings(request);
            check_with_hyper(request);
        }
    }
}

/// A request that comes in pieces is waited for, and for no more than there is of it.
fn check_beginnings(request: &[u8]) {
    for len in (0..request.len()).step_by(request.len().div_ceil(BEGINNINGS_MAX)) {
        match head(&request[..len]) {
            Head::Partial(missing) => assert!((1..=request.len() - len).contains(&missing)),
            other => panic!("the first {len} bytes: {other:?}"),
        }
    }
}

fn check_with_hyper(request: &[u8]) {
    let Head::Plain(plain) = head(request) else { panic!("it is plain") };
    let read = read_by_hyper(&[request, NEXT].concat());
    let [first, next] = &read[..] else { panic!("{} requests: {read:?}", read.len()) };
    assert_eq!(next.0.uri(), "/next");
    let (head, body) = first;
    let PlainHead { route, account, host, origin, authorization, request_id, .. } = plain;
    assert_eq!(head.method(), "POST");
    assert_eq!(head.uri().to_string(), format!("{route}/{account}"));
    assert_eq!(head.version(), hyper::Version::HTTP_11);
    assert_eq!(body, plain.body);
    let headers =
        [("host", host), ("origin", origin), ("authorization", authorization), ("x-request-id", request_id)];
    for (name, value) in headers {
        let read: Vec<&[u8]> = head.headers().get_all(name).iter().map(|value| value.as_bytes()).collect();
        assert_eq!(read, value.into_iter().collect::<Vec<_>>(), "{name}");
    }
    let declared = head.headers().get("content-type");
    assert!(plain.is_json || declared.is_some_and(|declared| declared != "application/json"));
}

/// The requests that hyper finds, and their bodies.
fn read_by_hyper(bytes: &[u8]) -> Vec<(Request<()>, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let requests = Mutex::new(Vec::new());
    let note = service_fn(async |request: Request<Incoming>| {
        let (head, mut body) = request.into_parts();
        let mut whole = Vec::new();
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            whole.extend_from_slice(frame.data_ref().expect("data"));
        }
        requests.lock().expect("a lock").push((Request::from_parts(head, ()), whole));
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(2 * bytes.len() + 4_096);
        client.write_all(bytes).await.expect("there is room");
        client.shutdown().await.expect("it is open");
        let served =
            http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), note).await;
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.expect("it is open");
        assert!(served.is_ok(), "{served:?}: {}", answers.escape_ascii());
    });
    requests.into_inner().expect("a lock")
}
