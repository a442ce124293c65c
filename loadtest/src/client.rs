//! One keep-alive connection: a request out, an answer in. Small buffers and no copies, since the client
//! shares the machine's cores with the server that it measures.

use crate::http::{Request, parse_head};
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BUFFER_BYTES_FIRST: usize = 512;
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The body of a 200, read as `T`.
    ///
    /// # Errors
    /// For another status, or another shape.
    pub fn read<T: Deserialize<'a>>(&self) -> Result<T> {
        ensure!(self.status == 200, "answered {}: {}", self.status, self.text());
        serde_json::from_slice(self.body).with_context(|| format!("the answer is {}", self.text()))
    }

    /// The body, to be shown.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(500)]).into_owned()
    }
}

/// A connection to the server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When it can't.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES_FIRST] })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("sending a request")
    }

    /// Waits for the answer of the request sent last.
    ///
    /// # Errors
    /// When the connection broke, or what came is no such answer.
    pub async fn receive(&mut self) -> Result<Answer<'_>> {
        let mut filled = 0;
        let mut head = None;
        loop {
            let wanted = match head {
                Some((_, answer_bytes)) => answer_bytes,
                None => filled + 1,
            };
            if self.buffer.len() < wanted.max(filled + 1) {
                self.buffer.resize(wanted.max(self.buffer.len() * 2), 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await.context("reading an answer")?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            if head.is_none()
                && let Some(parsed) = parse_head(&self.buffer[..filled])?
            {
                let answer_bytes = parsed.head_bytes + parsed.body_bytes;
                ensure!(answer_bytes <= ANSWER_BYTES_MAX, "an answer of {answer_bytes} bytes");
                head = Some((parsed, answer_bytes));
            }
            let Some((head, answer_bytes)) = head else { continue };
            match filled.cmp(&answer_bytes) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    let body = &self.buffer[head.head_bytes..answer_bytes];
                    return Ok(Answer { status: head.status, body });
                }
                std::cmp::Ordering::Greater => bail!("more came than the answer"),
            }
        }
    }

    /// Sends and waits for the answer.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::receive`].
    pub async fn exchange(&mut self, request: &Request) -> Result<Answer<'_>> {
        self.send(request.bytes()).await?;
        self.receive().await
    }
}
