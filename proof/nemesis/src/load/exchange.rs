//! HTTP/1.1 over a connection of its own: one request, one answer.

use super::recorder::Recorder;
use dragon_checker::history::Moment;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer longer than this is not the server's.
const ANSWER_BYTES_MAX: usize = 40 << 20;
const HEADERS_MAX: usize = 64;

/// A connection to a frontend.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    /// Whether it says when to come again.
    pub has_retry_after: bool,
    /// Whether the server closes the connection.
    pub closes: bool,
    /// When its last byte was there.
    pub returned_us: Moment,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection ended, before or within the answer.
    Cut,
    /// What came is no HTTP.
    Malformed(String),
}

/// How the body's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
}

struct Head {
    reply: Reply,
    bytes: usize,
    framing: Framing,
}

impl Connection {
    /// Opens one, and knocks: a proxy takes connections for a server that is gone, and a request that was never sent is
    /// better than one whose fate is unknown.
    ///
    /// # Errors
    /// When nobody answers; nothing but a question for its health was sent then.
    pub async fn open(address: SocketAddr, recorder: &Recorder) -> Result<Self, Broken> {
        let stream = TcpStream::connect(address).await.map_err(|_| Broken::Cut)?;
        stream.set_nodelay(true).map_err(|_| Broken::Cut)?;
        let mut connection = Self { stream, address, buffer: Vec::new() };
        let knock = format!("GET /health/live HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let reply = connection.exchange(knock.as_bytes(), recorder).await?;
        if reply.closes { Err(Broken::Cut) } else { Ok(connection) }
    }

    /// Whether it looks usable for another request: open, as far as can be seen, and silent.
    ///
    /// # Errors
    /// When the server has sent something that nobody asked for.
    pub fn is_idle(&self) -> Result<bool, Broken> {
        let mut bytes = [0; 64];
        match self.stream.try_read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => Err(unasked(&bytes[..count])),
            Err(error) => Ok(error.kind() == ErrorKind::WouldBlock),
        }
    }

    /// Sends a request and reads its answer. The connection is usable afterwards if that went well and the answer does
    /// not close it.
    ///
    /// # Errors
    /// When there is no answer; what became of the request is unknown then.
    pub async fn post(&mut self, path: &str, body: &str, recorder: &Recorder) -> Result<Reply, Broken> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.exchange((head + body).as_bytes(), recorder).await
    }

    async fn exchange(&mut self, request: &[u8], recorder: &Recorder) -> Result<Reply, Broken> {
        self.stream.write_all(request).await.map_err(|_| Broken::Cut)?;
        let Head { mut reply, bytes, framing } = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            self.read_more().await?;
        };
        self.buffer.drain(..bytes);
        reply.body = match framing {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunks => self.take_chunks().await?,
        };
        reply.returned_us = recorder.now_us();
        if self.buffer.is_empty() { Ok(reply) } else { Err(unasked(&self.buffer)) }
    }

    async fn read_more(&mut self) -> Result<(), Broken> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(Broken::Malformed("an answer that does not end".to_owned()));
        }
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Broken::Cut),
            Ok(_) => Ok(()),
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn take_chunks(&mut self) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let (head_bytes, length) = loop {
                match httparse::parse_chunk_size(&self.buffer) {
                    Ok(httparse::Status::Complete((bytes, length))) => break (bytes, length),
                    Ok(httparse::Status::Partial) => self.read_more().await?,
                    Err(_) => return Err(Broken::Malformed("a chunk without a length".to_owned())),
                }
            };
            self.buffer.drain(..head_bytes);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > ANSWER_BYTES_MAX {
                return Err(Broken::Malformed(format!("a chunk of {length} bytes")));
            }
            body.extend(self.take(length).await?);
            if self.take(2).await? != b"\r\n" {
                return Err(Broken::Malformed("a chunk that does not end where it says".to_owned()));
            }
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

/// The head of an answer; `None` while it is not complete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Broken> {
    let malformed =
        |what: String| Broken::Malformed(format!("{what} in {:?}", String::from_utf8_lossy(bytes)));
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(bytes).map_err(|error| malformed(error.to_string()))? {
        httparse::Status::Complete(head_bytes) => head_bytes,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    let header = |name: &str| {
        let named = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(named.value).ok()
    };
    let is = |name, value| header(name).is_some_and(|found: &str| found.eq_ignore_ascii_case(value));
    let framing = match header("content-length").map(str::parse) {
        _ if status == 204 => Framing::Length(0),
        Some(Ok(length)) if length <= ANSWER_BYTES_MAX => Framing::Length(length),
        None if is("transfer-encoding", "chunked") => Framing::Chunks,
        _ => return Err(malformed("no length that could be right".to_owned())),
    };
    let reply = Reply {
        status,
        has_retry_after: header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()),
        closes: is("connection", "close"),
        ..Reply::default()
    };
    Ok(Some(Head { reply, bytes: head_bytes, framing }))
}

fn unasked(bytes: &[u8]) -> Broken {
    Broken::Malformed(format!("bytes that nobody asked for: {:?}", String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// What becomes of a request when the server answers it with these bytes and closes.
    async fn answered(answer: &'static str) -> Result<Reply, Broken> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(b"{}") {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            for byte in answer.as_bytes() {
                stream.write_all(&[*byte]).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
        // Without the knock, which this server does not know.
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connection = Connection { stream, address, buffer: Vec::new() };
        let reply = connection.post("/db/a", "{}", &Recorder::start()).await;
        server.await.unwrap();
        reply
    }

    #[tokio::test]
    async fn answers_end_by_length_and_by_chunk() {
        for answer in [
            "HTTP/1.1 503 X\r\ncontent-LENGTH: 3\r\nRetry-After: 1\r\n\r\nabc",
            "HTTP/1.1 503 X\r\nRetry-After: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        ] {
            let reply = answered(answer).await.unwrap();
            assert_eq!((reply.status, &reply.body[..], reply.has_retry_after), (503, &b"abc"[..], true));
            assert!(!reply.closes);
        }
        let reply = answered("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(reply.body.is_empty() && reply.closes);
    }

    #[tokio::test]
    async fn a_cut_is_not_a_lie() {
        for cut in ["", "HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"] {
            assert!(matches!(answered(cut).await, Err(Broken::Cut)), "{cut}");
        }
        for lie in [
            "HTTX",
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP",
        ] {
            let told = answered(lie).await;
            // The byte after an answer may arrive after it was taken, and is found before the next request then.
            let late = lie.ends_with("{}HTTP") && told.is_ok();
            assert!(late || matches!(told, Err(Broken::Malformed(_))), "{lie}");
        }
    }
}
