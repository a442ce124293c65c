//! HTTP/1.1 as far as this client needs it: requests laid out once and changed in place, and heads of
//! answers. No sockets here.

use anyhow::{Context as _, Result, bail};
use memchr::{memchr, memmem};
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
}

/// A field of fixed width in a request, for numbers that change.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    at: usize,
    width: usize,
}

impl Field {
    /// The field of another width at the same place.
    #[must_use]
    pub fn wide(self, width: usize) -> Self {
        Self { width, ..self }
    }
}

impl Request {
    /// The field that begins behind the first `marker` in the body.
    ///
    /// # Panics
    /// When there is none: the caller has laid the request out itself.
    #[must_use]
    pub fn field(&self, marker: &str, width: usize) -> Field {
        let found = memmem::find(self.body(), marker.as_bytes()).expect("the marker was laid out");
        Field { at: self.body_at + found + marker.len(), width }
    }

    /// The field of this width that ends the path.
    #[must_use]
    pub fn path_field(&self, width: usize) -> Field {
        let end = memmem::find(&self.bytes, b" HTTP/1.1\r\n").expect("each request has it");
        Field { at: end - width, width }
    }

    /// The field of the same width, so many bytes further on.
    #[must_use]
    pub fn field_after(field: Field, bytes: usize) -> Field {
        Field { at: field.at + bytes, ..field }
    }

    /// The field of the same width, so many bytes before.
    #[must_use]
    pub fn field_before(field: Field, bytes: usize) -> Field {
        Field { at: field.at - bytes, ..field }
    }

    /// Writes a number with leading zeros.
    pub fn write_digits(&mut self, field: Field, number: u64) {
        write_digits(&mut self.bytes[field.at..][..field.width], number);
    }

    /// Writes a number with spaces before it, as JSON allows.
    pub fn write_number(&mut self, field: Field, mut number: u64) {
        let mut first = true;
        for digit in self.bytes[field.at..][..field.width].iter_mut().rev() {
            *digit = if number > 0 || first { digit_of(number) } else { b' ' };
            number /= 10;
            first = false;
        }
    }
}

/// Writes a number into a field of digits of fixed width, with leading zeros.
pub fn write_digits(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = digit_of(number);
        number /= 10;
    }
}

/// The last digit of a number.
fn digit_of(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
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
    let Some(first_end) = memchr(b'\n', bytes) else { return Ok(None) };
    let first = &bytes[..first_end];
    let status = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(parse_number);
    let Some(status) = status else { bail!("the status line is {:?}", String::from_utf8_lossy(first)) };
    let mut length = (status == 204 || status == 304).then_some(0);
    let mut at = first_end + 1;
    loop {
        let Some(line_bytes) = memchr(b'\n', &bytes[at..]) else { return Ok(None) };
        let line = &bytes[at..at + line_bytes];
        at += line_bytes + 1;
        match line.first() {
            Some(b'\r') => break,
            Some(b'c' | b'C') if is_named(line, b"content-length:") => {
                let value = line[b"content-length:".len()..].trim_ascii();
                length = Some(parse_number(value).context("Content-Length")?);
            }
            Some(b't' | b'T') if is_named(line, b"transfer-encoding:") => {
                bail!("a body in chunks, which this client does not read");
            }
            Some(_) => {}
            None => bail!("a line of the head ends without a carriage return"),
        }
    }
    let body_bytes = length.context("an answer without a length")?;
    Ok(Some(Head { status: u16::try_from(status)?, head_bytes: at, body_bytes }))
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

fn parse_number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
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
        let mut request = Request::post(([127, 0, 0, 1], 80).into(), "/x-000", "a0000b");
        let (field, path) = (request.field("a", 4), request.path_field(3));
        request.write_digits(field, 9_876_543);
        request.write_digits(path, 42);
        assert_eq!(request.body(), b"a6543b");
        assert!(request.bytes().ends_with(b"Content-Length: 6\r\n\r\na6543b"));
        assert!(request.bytes().starts_with(b"POST /x-042 HTTP/1.1\r\n"));
        for (number, text) in [(0, b"a   0b"), (70, b"a  70b"), (1234, b"a1234b")] {
            request.write_number(field, number);
            assert_eq!(request.body(), text);
        }
    }
}
