//! Which requests are plain, and what their heads say.

use crate::admission::REQUEST_ID;
use crate::json_body::is_json;
use crate::route::Route;
use crate::traces::TRACEPARENT;
use std::mem::MaybeUninit;

/// Headers of a plain request; one with more is not plain.
const HEADERS_MAX: usize = 32;
/// Bytes of a plain request's head; a longer one is not plain.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// Bytes of a plain request; a longer one is not plain.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What stands at the beginning of a connection's bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed<'b> {
    /// The beginning of what may become a plain request: so many bytes are missing at least.
    Partial(usize),
    /// A plain request, all of it.
    Plain(Plain<'b>),
    /// Anything else.
    Other,
}

/// A plain request.
#[derive(Debug, PartialEq)]
pub(crate) struct Plain<'b> {
    pub(crate) route: Route,
    pub(crate) account: &'b str,
    pub(crate) host: Option<&'b [u8]>,
    pub(crate) origin: Option<&'b [u8]>,
    pub(crate) authorization: Option<&'b [u8]>,
    pub(crate) request_id: Option<&'b [u8]>,
    pub(crate) traceparent: Option<&'b [u8]>,
    /// Whether the body is declared as JSON, or not at all.
    pub(crate) is_json: bool,
    pub(crate) body: &'b [u8],
    /// Head and body together.
    pub(crate) bytes: usize,
}

/// Looks at what has arrived.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let head_bytes = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Parsed::Partial(1),
        Ok(httparse::Status::Partial) | Err(_) => return Parsed::Other,
    };
    let (Some("POST"), Some(path), Some(1)) = (request.method, request.path, request.version) else {
        return Parsed::Other;
    };
    let Some((route, account)) = data_route(path) else { return Parsed::Other };
    let Some(headers) = Headers::of(request.headers) else { return Parsed::Other };
    let Some(body_bytes) = headers.content_length else { return Parsed::Other };
    if body_bytes > REQUEST_BYTES_MAX - HEAD_BYTES_MAX {
        return Parsed::Other;
    }
    let whole = head_bytes + body_bytes;
    let Some(body) = bytes.get(head_bytes..whole) else { return Parsed::Partial(whole - bytes.len()) };
    let Headers { host, origin, authorization, request_id, traceparent, is_json, .. } = headers;
    Parsed::Plain(Plain {
        route,
        account,
        host,
        origin,
        authorization,
        request_id,
        traceparent,
        is_json,
        body,
        bytes: whole,
    })
}

/// The route and the account of a path that needs no decoding.
fn data_route(path: &str) -> Option<(Route, &str)> {
    let (route, account) = [("/db/", Route::Db), ("/watch/", Route::Watch), ("/list/", Route::List)]
        .into_iter()
        .find_map(|(prefix, route)| Some((route, path.strip_prefix(prefix)?)))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (!account.is_empty() && account.bytes().all(is_plain)).then_some((route, account))
}

/// The headers that matter.
struct Headers<'b> {
    content_length: Option<usize>,
    host: Option<&'b [u8]>,
    origin: Option<&'b [u8]>,
    authorization: Option<&'b [u8]>,
    request_id: Option<&'b [u8]>,
    traceparent: Option<&'b [u8]>,
    is_json: bool,
}

impl<'b> Headers<'b> {
    /// `None` when one of them asks for more than a plain exchange, or comes twice.
    fn of(headers: &[httparse::Header<'b>]) -> Option<Self> {
        let mut content_type = None;
        let mut content_length = None;
        let (mut host, mut origin, mut authorization) = (None, None, None);
        let (mut request_id, mut traceparent) = (None, None);
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let slot = match header.name.len() {
                4 if is("host") => &mut host,
                6 if is("origin") => &mut origin,
                13 if is("authorization") => &mut authorization,
                12 if is("content-type") => &mut content_type,
                12 if is(REQUEST_ID) => &mut request_id,
                11 if is(TRACEPARENT) => &mut traceparent,
                14 if is("content-length") => &mut content_length,
                10 if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive") => return None,
                6 if is("expect") => return None,
                7 if is("upgrade") => return None,
                17 if is("transfer-encoding") => return None,
                _ => continue,
            };
            if slot.replace(header.value).is_some() {
                return None;
            }
        }
        let content_length = match content_length {
            Some(digits) => Some(number(digits)?),
            None => None,
        };
        let is_json = is_json(content_type);
        Some(Self { content_length, host, origin, authorization, request_id, traceparent, is_json })
    }
}

/// A number of at most nine digits and nothing else.
fn number(digits: &[u8]) -> Option<usize> {
    let fits = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST /db/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Request-Id: r\r\n";

    fn plain(text: &str) -> Plain<'_> {
        match parse(text.as_bytes()) {
            Parsed::Plain(plain) => plain,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn plain_requests_are_read() {
        let text = format!("{HEAD}\r\n{{}}POST /db/next");
        let read = plain(&text);
        assert_eq!((read.route, read.account, read.body), (Route::Db, "jobs", &b"{}"[..]));
        assert_eq!((read.host, read.request_id), (Some(&b"a"[..]), Some(&b"r"[..])));
        assert!(read.is_json && read.origin.is_none());
        assert_eq!(read.bytes, text.len() - "POST /db/next".len());
        for (declared, is_json) in [("application/json; charset=utf-8", true), ("text/plain", false)] {
            let text = format!("{HEAD}content-TYPE: {declared}\r\n\r\n{{}}");
            assert_eq!(plain(&text).is_json, is_json, "{declared}");
        }
        for path in ["/watch/a.b", "/list/A_-9"] {
            plain(&format!("POST {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
        }
    }

    #[test]
    fn every_beginning_is_partial() {
        let text = format!("{HEAD}\r\n{{}}");
        for end in 0..text.len() {
            let parsed = parse(&text.as_bytes()[..end]);
            assert!(matches!(parsed, Parsed::Partial(1..)), "{end}: {parsed:?}");
        }
    }

    #[test]
    fn all_else_is_left_to_others() {
        let with = |header: &str| format!("{HEAD}{header}\r\n\r\n{{}}");
        let line = |line: &str| format!("{line}\r\nContent-Length: 2\r\n\r\n{{}}");
        for text in [
            line("GET /db/jobs HTTP/1.1"),
            line("POST /db/jobs HTTP/1.0"),
            line("POST /db/ HTTP/1.1"),
            line("POST /db/a/b HTTP/1.1"),
            line("POST /db/a%20b HTTP/1.1"),
            line("POST /db/a?b=c HTTP/1.1"),
            line("POST http://a/db/jobs HTTP/1.1"),
            line("POST /metrics HTTP/1.1"),
            "POST /db/jobs HTTP/1.1\r\nHost: a\r\n\r\n{}".into(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            with("Content-Length: 2"),
            with("Host: b"),
            with("Transfer-Encoding: chunked"),
            with("Expect: 100-continue"),
            with("Connection: close"),
            with("Connection: upgrade"),
            with("Upgrade: h2c"),
            with("bad header"),
            with(&"a: b\r\n".repeat(HEADERS_MAX)),
            "POST /db/jobs HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}".into(),
            "POST /db/jobs HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n{}".into(),
            "POST /db/jobs HTTP/1.1\r\nContent-Length: 70000\r\n\r\n{}".into(),
            format!("POST /db/jobs HTTP/1.1\r\nA: {}", "x".repeat(HEAD_BYTES_MAX)),
        ] {
            assert_eq!(parse(text.as_bytes()), Parsed::Other, "{text}");
        }
    }
}
