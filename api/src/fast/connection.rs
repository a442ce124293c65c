//! A connection's plain requests, one after another.

use super::answer::Answer;
use super::head::{Parsed, Plain, parse};
use crate::access::{Claim, Permit};
use crate::admission::{Admission, Head, Ticket};
use crate::connections::HEAD_TIME_MAX;
use crate::error::{ApiError, Code, MEDIA_TYPE_MESSAGE};
use crate::json_body;
use crate::route::Route;
use crate::service::{Asked, Service};
use crate::shared_stream::hung_up;
use bytes::{Buf, Bytes, BytesMut};
use poem::http::StatusCode;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// Room for what arrives next; most requests are smaller.
const READ_BYTES: usize = 4 << 10;
/// How long a request may take to arrive before others wait for the rest of it.
const REST_TIME_MAX: Duration = Duration::from_secs(1);
/// Larger buffers are not kept while nothing comes.
const KEPT_BYTES_MAX: usize = 16 << 10;
/// A larger body is not copied behind the head of its answer.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// What serves plain requests.
#[derive(Debug)]
pub(crate) struct FastPath {
    pub(crate) service: Service,
    pub(crate) admission: Arc<Admission>,
}

/// How the fast path leaves a connection.
#[derive(Debug)]
pub(crate) enum Left {
    /// It is over.
    Closed,
    /// Something came that is not plain: these bytes of it.
    HandOver(BytesMut),
}

impl FastPath {
    /// Serves a connection for as long as what comes is plain.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) async fn serve(&self, stream: &mut TcpStream, stop: &CancellationToken) -> io::Result<Left> {
        let mut input = BytesMut::new();
        let mut output = Vec::new();
        let mut idle = pin!(Idle::new());
        // When the rest of the request that has begun to arrive is left to others.
        let mut rest_until = None;
        loop {
            let (mut ticket, asked) = match parse(&input) {
                Parsed::Plain(plain) if plain.body.len() <= self.service.limits.request_bytes => {
                    let taken = self.take(&plain);
                    let bytes = plain.bytes;
                    input.advance(bytes);
                    rest_until = None;
                    taken
                }
                Parsed::Plain(_) | Parsed::Other => return Ok(Left::HandOver(input)),
                Parsed::Partial(missing) => {
                    if stop.is_cancelled() && input.is_empty() {
                        return Ok(Left::Closed);
                    }
                    let read = if input.is_empty() {
                        release(&mut input, &mut output);
                        begin(stream, &mut input, stop, idle.as_mut()).await?
                    } else {
                        let until = *rest_until.get_or_insert_with(|| Instant::now() + REST_TIME_MAX);
                        read_on(stream, &mut input, missing, until).await?
                    };
                    match read {
                        Read::Some => continue,
                        Read::End if input.is_empty() => return Ok(Left::Closed),
                        Read::End | Read::Slow => return Ok(Left::HandOver(input)),
                    }
                }
            };
            let answer = match asked {
                Ok(asked) if asked.waits() => {
                    // A waiter keeps no buffers. What it sent ahead, it keeps.
                    output = Vec::new();
                    if input.is_empty() {
                        input = BytesMut::new();
                    }
                    tokio::select! {
                        // First: a lock that is granted to one who is known to be gone is given back.
                        biased;
                        () = hung_up(stream) => return Ok(Left::Closed),
                        answer = self.service.answer(asked) => answer,
                    }
                }
                Ok(asked) => self.service.answer(asked).await,
                Err(error) => Err(error),
            };
            // While the server drains too: a client must not send its next request just when the connection is closed.
            let is_last = stop.is_cancelled() || self.service.frontend.is_draining();
            self.send(stream, &mut ticket, answer, is_last, &mut output).await?;
            if is_last {
                return Ok(Left::Closed);
            }
            idle.as_mut().restart();
        }
    }

    /// Takes a request in.
    fn take(&self, plain: &Plain<'_>) -> (Ticket, Result<Asked, ApiError>) {
        let &Plain { route, account, host, origin, authorization, request_id, traceparent, .. } = plain;
        let claim = Claim { route, account: Some(account), host, origin, authorization };
        let (ticket, admitted) = self.admission.admit(&Head { claim, request_id, traceparent });
        (ticket, admitted.and_then(|permit| self.ask(plain, &permit)))
    }

    fn ask(&self, plain: &Plain<'_>, permit: &Permit) -> Result<Asked, ApiError> {
        if !plain.is_json {
            return Err(ApiError::new(Code::UnsupportedMediaType, MEDIA_TYPE_MESSAGE));
        }
        match plain.route {
            Route::Watch => self.service.watch(plain.account, json_body::parse(plain.body)?, permit),
            Route::List => self.service.list(plain.account, json_body::parse(plain.body)?),
            _ => self.service.db(plain.account, json_body::parse(plain.body)?, permit),
        }
    }

    async fn send(
        &self,
        stream: &mut TcpStream,
        ticket: &mut Ticket,
        answer: Result<Option<Bytes>, ApiError>,
        is_last: bool,
        output: &mut Vec<u8>,
    ) -> io::Result<()> {
        let answer = match answer {
            Ok(Some(json)) => Answer { status: StatusCode::OK, json: Some(json), retry_after_s: None },
            Ok(None) => Answer { status: StatusCode::NO_CONTENT, json: None, retry_after_s: None },
            Err(error) => error.into(),
        };
        output.clear();
        answer.write_head(output, &ticket.request_id, is_last);
        self.admission.answered(ticket, "POST", answer.status.as_u16());
        match answer.json {
            Some(json) if json.len() > COPIED_BYTES_MAX => {
                stream.write_all_buf(&mut Buf::chain(&output[..], json)).await
            }
            json => {
                output.extend_from_slice(&json.unwrap_or_default());
                stream.write_all(output).await
            }
        }
    }
}

/// What reading on has brought.
enum Read {
    /// Bytes.
    Some,
    /// The end: the client closed, was idle for too long, or the server is going down.
    End,
    /// The rest of a request is slow to come.
    Slow,
}

/// Gives large buffers back before a connection that may be idle for long.
fn release(input: &mut BytesMut, output: &mut Vec<u8>) {
    if input.capacity() > KEPT_BYTES_MAX {
        *input = BytesMut::new();
    }
    if output.capacity() > KEPT_BYTES_MAX {
        *output = Vec::new();
    }
}

/// Waits for the next request to begin.
async fn begin(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    stop: &CancellationToken,
    idle: Pin<&mut Idle>,
) -> io::Result<Read> {
    let read = async {
        poll_fn(|context| stream.poll_read_ready(context)).await?;
        // Not before: a connection that has never asked anything has no buffer.
        input.reserve(READ_BYTES);
        stream.read_buf(input).await
    };
    tokio::select! {
        biased;
        read_bytes = read => Ok(if read_bytes? == 0 { Read::End } else { Read::Some }),
        () = stop.cancelled() => Ok(Read::End),
        () = idle.over() => Ok(Read::End),
    }
}

/// Reads on in a request.
async fn read_on(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    missing: usize,
    until: Instant,
) -> io::Result<Read> {
    input.reserve(missing.max(READ_BYTES));
    match timeout_at(until, stream.read_buf(input)).await {
        Ok(read_bytes) => Ok(if read_bytes? == 0 { Read::End } else { Read::Some }),
        Err(_) => Ok(Read::Slow),
    }
}

pin_project_lite::pin_project! {
    /// The time for which a connection may be idle. Its timer is set anew only when it rings, so that a
    /// busy connection costs none.
    struct Idle {
        since: Instant,
        #[pin]
        alarm: Sleep,
    }
}

impl Idle {
    fn new() -> Self {
        let since = Instant::now();
        Self { since, alarm: sleep_until(since + HEAD_TIME_MAX) }
    }

    /// Begins anew.
    fn restart(self: Pin<&mut Self>) {
        *self.project().since = Instant::now();
    }

    /// Waits until the time is over.
    async fn over(self: Pin<&mut Self>) {
        let mut this = self.project();
        loop {
            this.alarm.as_mut().await;
            let over = *this.since + HEAD_TIME_MAX;
            if over <= Instant::now() {
                return;
            }
            this.alarm.as_mut().reset(over);
        }
    }
}
