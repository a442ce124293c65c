//! Connections: accept, serve HTTP on each, and let them finish when the server goes down. Own,
//! rather than Poem's server, for what that does not offer: no delay of small answers (Nagle), a time
//! limit on request heads, and a look at how many are open.

use crate::error::{ApiError, Code};
use crate::fast::{FastPath, Left};
use crate::metrics::Metrics;
use crate::shared_stream::{SharedStream, hung_up};
use crate::tls::{Http, Tls};
use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint as _, Request, Response};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the next request's head may take to arrive, counted from the last answer: hyper has one
/// time for idling and for sending. Longer than the 90 seconds for which most clients keep an idle
/// connection, so that it is they who close it, and not the server at the moment of their next request.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long one who is turned away is listened to.
const TURN_AWAY_TIME_MAX: Duration = Duration::from_secs(1);
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 250;
/// How often a client that speaks HTTP/2 is asked whether it is there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_TIME_MAX: Duration = Duration::from_secs(20);
/// How long a request is left to hyper alone.
const UNWATCHED: Duration = Duration::from_millis(100);
/// How long to wait when no connection can be accepted, because no file handle is left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What serves connections.
pub(crate) struct Connections {
    /// Everything that can be asked.
    pub(crate) endpoint: Arc<BoxEndpoint<'static, Response>>,
    /// What is asked most often, when it has a path of its own.
    pub(crate) fast_path: Option<FastPath>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Option<Tls>,
    /// Connections at a time, at all addresses together.
    pub(crate) connections_max: i64,
    /// Accept no more, and close each connection after its present answer.
    pub(crate) stop: CancellationToken,
}

impl Connections {
    /// Accepts until told to stop, then waits until all connections are closed.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let open = TaskTracker::new();
        let this = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = this.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let this = Arc::clone(&this);
                    open.spawn(async move { this.serve_one(stream, remote).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        open.close();
        open.wait().await;
    }

    async fn serve_one(&self, mut stream: TcpStream, remote: SocketAddr) {
        let others = self.metrics.connections.inc();
        let open = Open(&self.metrics);
        if others >= self.connections_max {
            // It takes no place from those who come after it.
            drop(open);
            self.turn_away(stream).await;
            return;
        }
        // Without it, a small answer behind another may wait for the client's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone at once");
            return;
        }
        // A child of its own, so that the many connections do not meet at one token's lock.
        let stop = self.stop.child_token();
        let left = match &self.fast_path {
            Some(fast_path) if self.tls.is_none() => fast_path.serve(&mut stream, &stop).await,
            _ => Ok(Left::HandOver(BytesMut::new())),
        };
        match left {
            Ok(Left::Closed) => {}
            // Boxed, since most connections never need this much larger future.
            Ok(Left::HandOver(read)) => Box::pin(self.serve_all(stream, remote, read, &stop)).await,
            Err(error) => tracing::debug!(%error, "a connection broke"),
        }
    }

    /// Tells a client that there are too many. One that would have to be agreed with on how to encrypt is not told.
    async fn turn_away(&self, mut stream: TcpStream) {
        if self.tls.is_some() {
            return;
        }
        let error =
            ApiError::new(Code::Unavailable, "The server has too many connections; come again later.");
        let body = error.body();
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: {}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            error.retry_after_s().unwrap_or_default(),
            body.len()
        );
        let told = async {
            stream.write_all(&[head.as_bytes(), &body].concat()).await?;
            stream.shutdown().await?;
            // Closed with bytes unread, it would take back what it was told.
            while stream.read(&mut [0; 1024]).await? > 0 {}
            std::io::Result::Ok(())
        };
        drop(tokio::time::timeout(TURN_AWAY_TIME_MAX, told).await);
    }

    /// Serves whatever comes on a connection of which `read` was read already.
    async fn serve_all(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        read: BytesMut,
        stop: &CancellationToken,
    ) {
        let local = LocalAddr(stream.local_addr().unwrap_or(remote).into());
        let remote = RemoteAddr(remote.into());
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let stream = Arc::new(stream);
        let shared = SharedStream::new(Arc::clone(&stream), read);
        let endpoint = Arc::clone(&self.endpoint);
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_asked);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let request = Request::from((request, local.clone(), remote.clone(), scheme.clone()));
            let (endpoint, stream) = (Arc::clone(&endpoint), Arc::clone(&stream));
            async move {
                tokio::select! {
                    biased;
                    response = endpoint.get_response(request) => Ok(hyper::Response::from(response)),
                    () = hung_up_at_length(&stream) => Err(HungUp),
                }
            }
        });
        let result = match &self.tls {
            None => finish(http1_builder().serve_connection(TokioIo::new(shared), service), stop).await,
            Some(tls) => {
                let accepted = tokio::select! {
                    accepted = tls.accept(shared) => accepted,
                    () = stop.cancelled() => return,
                };
                match accepted {
                    Ok((encrypted, Http::One)) => {
                        let connection = http1_builder().serve_connection(TokioIo::new(encrypted), service);
                        finish(connection, stop).await
                    }
                    Ok((encrypted, Http::Two)) => {
                        let connection = http2_builder().serve_connection(TokioIo::new(encrypted), service);
                        tokio::select! {
                            result = finish(connection, stop) => result,
                            () = silent(&has_asked, stop) => Ok(()),
                        }
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

fn http1_builder() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_BYTES_MAX);
    http
}

/// A request that waits takes one stream; a client that is gone without a word is noticed by its silence.
fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_TIME_MAX);
    http
}

/// Waits until a client has asked nothing for too long, or until the server is to stop and it has asked nothing yet: as long as
/// it has not said a word, hyper neither asks whether it is there nor ends the connection.
async fn silent(has_asked: &AtomicBool, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(HEAD_TIME_MAX) => {}
        () = stop.cancelled() => {}
    }
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Serves a connection to its end, which comes after its present answers once the server is to stop.
async fn finish<C>(connection: C, stop: &CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>>
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // First: what was read already is served, even when the server is going down by now.
        biased;
        result = connection.as_mut() => Ok(result?),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            Ok(connection.await?)
        }
    }
}

/// hyper itself notices a client's going unless it holds a further request already, so only requests that
/// take long, which are those that wait, are watched beside it.
async fn hung_up_at_length(stream: &TcpStream) {
    tokio::time::sleep(UNWATCHED).await;
    hung_up(stream).await;
}

/// The client has closed the connection while its request waited.
#[derive(Debug, thiserror::Error)]
#[error("the client hung up")]
struct HungUp;

/// Counts an open connection.
struct Open<'a>(&'a Metrics);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
