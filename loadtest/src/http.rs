//! HTTP/1.1 as far as this client needs it: requests laid out once and changed in place, and heads of
//! answers. No sockets here.

use anyhow::{Context as _, Result, bail};
use std::net::SocketAddr;

/// A request, laid out; its body may change, but not in length.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    body_at: usize,
}

impl Request {
    /// A POST with a JSON body.
    #[must_use]
    pub fn post(host: SocketAddr, path: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let body_at = head.len();
        Self { bytes: (head + body).into_bytes(), body_at }
    }

    /// A GET.
    #[must_use]
    pub fn get(host: SocketAddr, path: &str) -> Self {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        Self { body_at: bytes.len(), bytes }
    }

    /// All of it, as it goes out.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// The body, to change in place.
    pub fn body_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.body_at..]
    }
}

/// Writes a number into a field of digits of fixed width, with leading zeros.
pub fn write_digits(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Where the body begins.
    pub head_bytes: usize,
    /// How long the body is.
    pub body_bytes: usize,
}

/// Reads the head of an answer; `None` while it is not complete.
///
/// # Errors
/// If it is not HTTP/1.1, or its body has no stated length.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next().unwrap_or_default())?;
    let status: u16 = match first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(status) => status.parse().with_context(|| format!("the status line is {first:?}"))?,
        None => bail!("the status line is {first:?}"),
    };
    let mut length = (status == 204 || status == 304).then_some(0);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(std::str::from_utf8(value)?.parse().context("Content-Length")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            bail!("a body in chunks, which this client does not read");
        }
    }
    let body_bytes = length.context("an answer without a length")?;
    Ok(Some(Head { status, head_bytes: end + 4, body_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-LENGTH:  12 \r\n\r\n{";
        assert_eq!(
            parse_head(head).unwrap(),
            Some(Head { status: 200, head_bytes: head.len() - 1, body_bytes: 12 })
        );
        for end in 0..head.len() - 1 {
            assert_eq!(parse_head(&head[..end]).unwrap(), None);
        }
        let none = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(
            parse_head(none).unwrap(),
            Some(Head { status: 204, head_bytes: none.len(), body_bytes: 0 })
        );
        for bad in [
            &b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"[..],
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert!(parse_head(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn requests_change_in_place() {
        let mut request = Request::post(([127, 0, 0, 1], 80).into(), "/x", "a0000b");
        write_digits(&mut request.body_mut()[1..5], 9_876_543);
        assert_eq!(request.body(), b"a6543b");
        assert!(request.bytes().ends_with(b"Content-Length: 6\r\n\r\na6543b"));
    }
}
