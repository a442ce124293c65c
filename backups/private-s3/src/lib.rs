//! A private S3 server for tests, and for nothing else: s3s-fs, on a port and threads of its own in the test process. It
//! keeps its objects as files, so that they can be looked at and damaged, and it answers as a server in trouble would
//! when it is told to.
//!
//! Whatever fails here panics.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The bucket that is there.
pub const BUCKET: &str = "backups";

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// What it should.
    Answers,
    /// What it should, after this time.
    IsSlow(Duration),
    /// Refuses it with this status, having done nothing.
    Refuses(u16),
    /// Never answers.
    Hangs,
}

/// A request as it came, without its body.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path: bucket and key.
    pub path: String,
    /// What follows it.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
}

impl Seen {
    /// Whether it brings an object or a part of one.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        self.method == Method::PUT
    }
}

type Trouble = Box<dyn FnMut(&Seen) -> Does + Send>;

/// A running server. Dropping it stops it and deletes what it holds.
pub struct PrivateS3 {
    folder: TempDir,
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

struct State {
    trouble: Mutex<Trouble>,
    seen: Mutex<Vec<Seen>>,
}

impl fmt::Debug for PrivateS3 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PrivateS3").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for PrivateS3 {
    fn drop(&mut self) {
        // It may be dropped within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl PrivateS3 {
    /// Starts a server with an empty bucket.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = service.build();
        let state = State { trouble: Mutex::new(Box::new(|_| Does::Answers)), seen: Mutex::default() };
        let state = Arc::new(state);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serve(listener, service, Arc::clone(&state));
        runtime.spawn(serving);
        Self { folder, address, state, runtime: Some(runtime) }
    }

    /// The place of the backups.
    #[must_use]
    pub fn location(&self) -> String {
        format!("s3://{BUCKET}/a/b")
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What tells programs that use an AWS SDK how to reach it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_REGION", "eu-test-1".into()),
            // Nobody asks the machine's own files.
            ("AWS_CONFIG_FILE", "/dev/null".into()),
        ]
    }

    /// The file of an object, by its name under the place of the backups.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join("a/b").join(name)
    }

    /// The names of the files in a folder of the place of the backups.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<String> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    /// From now on each request is treated like this.
    pub fn when_asked(&self, trouble: impl FnMut(&Seen) -> Does + Send + 'static) {
        *self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(trouble);
    }

    /// From now on it does what it should.
    pub fn recover(&self) {
        self.when_asked(|_| Does::Answers);
    }

    /// The requests since the last call.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, state) = (service.clone(), Arc::clone(&state));
        let answering = service_fn(move |request| answer(request, service.clone(), Arc::clone(&state)));
        tokio::spawn(async move {
            let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            drop(http.serve_connection(TokioIo::new(stream), answering).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    state: Arc<State>,
) -> Result<Response<Body>, HttpError> {
    let seen = Seen {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().clone(),
    };
    let does = (state.trouble.lock().unwrap_or_else(PoisonError::into_inner))(&seen);
    state.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    match does {
        Does::Answers => service.call(request.map(Body::from)).await,
        Does::IsSlow(time) => {
            tokio::time::sleep(time).await;
            service.call(request.map(Body::from)).await
        }
        Does::Refuses(status) => {
            // What was sent is read, or the client might not get to read the answer.
            let mut body = request.into_body();
            while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
            let code = match status {
                403 => "AccessDenied",
                503 => "SlowDown",
                507 => "XMinioStorageFull",
                _ => "InternalError",
            };
            let error = format!("<Error><Code>{code}</Code><Message>a test</Message></Error>");
            let response = Response::builder().status(status).header("content-type", "application/xml");
            Ok(response.body(Body::from(error)).unwrap())
        }
        Does::Hangs => std::future::pending().await,
    }
}
