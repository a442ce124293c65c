//! A client that sends the bytes it is given, hangs up when told, and reads HTTP/1.1 answers.

use super::{Answer, PATIENCE};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The bytes of a POST with a JSON body.
pub fn request_bytes(path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One connection. Dropping it hangs up.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap()
    }

    /// Like `open`, for a server that may be gone.
    pub async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = patiently(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        patiently(self.stream.write_all(bytes)).await
    }

    /// Sends a POST and reads its answer.
    pub async fn try_post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(&request_bytes(path, body)).await?;
        self.try_receive().await
    }

    /// Sends a GET and reads its answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    /// Like `get`, for a server that may be gone.
    pub async fn try_get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        self.try_receive().await
    }

    /// Sends a whole request as bytes and reads its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Answer {
        self.send(request).await.unwrap();
        self.receive().await
    }

    /// Reads the next answer.
    pub async fn receive(&mut self) -> Answer {
        self.try_receive().await.unwrap()
    }

    /// Like `receive`, for a server that may be gone.
    pub async fn try_receive(&mut self) -> io::Result<Answer> {
        patiently(self.read_answer()).await
    }

    /// Whether the server closes the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && matches!(patiently(self.stream.read_u8()).await, Err(_gone))
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let head = self.read_until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other(format!("no HTTP answer: {head:?}")))?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            answer.body = self.read_chunks().await?;
        } else if let Some(length) = answer.header("content-length") {
            answer.body = self.read_exact(length.parse().map_err(io::Error::other)?).await?;
        }
        Ok(answer)
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.read_until(b"\r\n").await?).map_err(io::Error::other)?;
            let length = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            body.extend(self.read_exact(length).await?);
            self.read_until(b"\r\n").await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    async fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                let rest = self.received.split_off(at + end.len());
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            self.read_more().await?;
        }
    }

    async fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.received.len() < length {
            self.read_more().await?;
        }
        let rest = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("the server did nothing for {PATIENCE:?}"))
}

/// A request that was sent and not answered yet. Dropping it hangs up.
#[derive(Debug)]
pub struct Pending(pub Connection);

impl Pending {
    pub async fn answer(mut self) -> Answer {
        self.0.receive().await
    }

    /// Hangs up.
    pub fn hang_up(self) {
        drop(self);
    }

    /// Hangs up, unless an answer has begun to arrive by this very moment.
    pub async fn hang_up_unless_answered(self) -> Option<Answer> {
        let Connection { stream, received } = self.0;
        let stream = stream.into_std().unwrap();
        match stream.peek(&mut [0]) {
            Ok(1..) => {
                let stream = TcpStream::from_std(stream).unwrap();
                Some(Connection { stream, received }.receive().await)
            }
            _ => None,
        }
    }
}
