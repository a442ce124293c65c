//! Serving: open the store, start what works on it, answer until told to stop, and leave in order.

use crate::access::{Access, AccessError};
use crate::admission::Admission;
use crate::backups::Backups;
use crate::config::{AccessLog, Settings};
use crate::connections::Connections;
use crate::fast::FastPath;
use crate::metrics::Metrics;
use crate::quotas::Quotas;
use crate::reload::ReloadError;
use crate::routes::endpoint;
use crate::service::Service;
use crate::stores::Stores;
use crate::tls::Tls;
use crate::traces::Traces;
use dragon_contract::{Backend, jittered};
use dragon_embedded::OpenError;
use dragon_postgres::ConnectError;
use dragon_waiters::Frontend;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use opentelemetry_otlp::ExporterBuildError;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Open files that 10,000 waiting clients and the store need, with room to spare.
const FILES_WANTED: u64 = 16_384;
/// Connections that may wait to be accepted (the kernel's own limit, `somaxconn`, may be lower).
const NEW_CONNECTIONS_MAX: u32 = 4_096;
/// How often expired rows are deleted, and how many at a time.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SWEEP_ROWS: usize = 1_000;
/// How often to look for imports that nobody carries on, at most.
const IMPORTS_EVERY: Duration = Duration::from_secs(10);
/// How long requests under way may take to finish once no more are accepted.
const FINISH_TIME_MAX: Duration = Duration::from_secs(20);

/// Why the server did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database can't be used.
    #[error(transparent)]
    Postgres(#[from] Arc<ConnectError>),
    /// The password can't be read.
    #[error("can't read the password in {0}: {1}")]
    Password(String, io::Error),
    /// The caller's own store can't be opened.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
    /// The address can't be served on.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Nobody could be let in, or everybody would be.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(ReloadError),
    /// Traces can't be sent.
    #[error("can't send traces: {0}")]
    Traces(#[from] ExporterBuildError),
    /// The operating system refused something else.
    #[error("can't start: {0}")]
    Io(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`], in words for the operator.
pub fn run(settings: &Settings) -> Result<(), ServeError> {
    // What the stores hold of the process ends after the runtime.
    let stores = Stores::prepare(&settings.store.store)?;
    run_on(settings, async |metrics| stores.open(&settings.store, metrics))
}

/// A store that is served, and how it fails for good while it is.
pub struct Served {
    /// The store.
    pub backend: Arc<dyn Backend>,
    /// Resolves when there is no use in serving it any longer.
    pub failure: BoxFuture<'static, ServeError>,
}

impl<B: Backend> From<Arc<B>> for Served {
    fn from(backend: Arc<B>) -> Self {
        Self { backend, failure: std::future::pending().boxed() }
    }
}

/// Serves until SIGTERM or SIGINT, on the store that `open` opens, whatever the settings say of one. It is
/// called once the address is held, and may register metrics of its own.
///
/// # Errors
/// [`ServeError`], in words for the operator.
pub fn run_on(
    settings: &Settings,
    open: impl AsyncFnOnce(&mut Metrics) -> Result<Served, ServeError>,
) -> Result<(), ServeError> {
    raise_file_limit();
    let traces = settings.traces.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(settings, traces.clone(), open));
    drop(runtime);
    if let Some(traces) = traces {
        traces.close();
    }
    served
}

async fn serve(
    settings: &Settings,
    traces: Option<Arc<Traces>>,
    open: impl AsyncFnOnce(&mut Metrics) -> Result<Served, ServeError>,
) -> Result<(), ServeError> {
    settings.access.check(settings.listen)?;
    // The addresses come first: a second server on them must not touch a store.
    let (listener, address) = listen(settings.listen)?;
    let admin = settings.access.admin_listen.map(listen).transpose()?;
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut metrics = Metrics::new();
    let access = settings.access.access(address, &metrics.reloads)?;
    let tls = settings.tls.open(&metrics.reloads).map_err(ServeError::Tls)?;
    let Served { backend, failure } = open(&mut metrics).await?;
    let metrics = Arc::new(metrics);
    let frontend = Frontend::start(Arc::clone(&backend), metrics.lanes.clone(), metrics.waiters.clone());
    let keeper = settings.backups.keeper(&frontend, metrics.backups.clone()).await;
    let mut beside = vec![
        tokio::spawn(sweep(Arc::clone(&backend))),
        tokio::spawn(end_abandoned_imports(frontend.clone())),
    ];
    if let (Some(keeper), Some(every)) = (keeper.clone(), settings.backups.backup_every) {
        beside.push(tokio::spawn(async move { keeper.keep_at_it(every).await }));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let service = Service {
        frontend: frontend.clone(),
        limits: Arc::new(settings.limits.limits()),
        quotas: Quotas::new(&settings.quotas),
    };
    beside.push(tokio::spawn(Arc::clone(&service.quotas).keep_small()));
    let stop = CancellationToken::new();
    let serving = Serving {
        service,
        backups: Backups(keeper),
        metrics,
        fast_path: settings.fast_path,
        access_log: settings.access_log,
        traces,
        stop: stop.clone(),
    };
    let mut serving_all = vec![serving.start(listener, access, tls, settings.max_connections.get().into())];
    tracing::info!("listening on {scheme}://{address}");
    if let Some((listener, address)) = admin {
        serving_all.push(serving.start(listener, settings.access.admin_access(address), None, i64::MAX));
        tracing::info!("administration on http://{address}");
    }

    tokio::select! {
        () = signalled(&mut signals) => {}
        error = failure => return Err(error),
    }
    tracing::info!(
        drain_delay_s = settings.drain_delay,
        "going down: what waits is told, what runs may finish"
    );
    frontend.drain();
    let leave = async {
        tokio::time::sleep(Duration::from_secs(settings.drain_delay.into())).await;
        stop.cancel();
        let finished = futures_util::future::join_all(serving_all);
        if tokio::time::timeout(FINISH_TIME_MAX, finished).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    };
    tokio::select! {
        () = leave => {}
        () = signalled(&mut signals) => tracing::warn!("told again: leaving at once"),
    }
    beside.iter().for_each(JoinHandle::abort);
    backend.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What is the same at every address that is served.
struct Serving {
    service: Service,
    backups: Backups,
    metrics: Arc<Metrics>,
    fast_path: bool,
    access_log: AccessLog,
    traces: Option<Arc<Traces>>,
    stop: CancellationToken,
}

impl Serving {
    /// Serves at one address those whom access lets in.
    fn start(
        &self,
        listener: TcpListener,
        access: Access,
        tls: Option<Tls>,
        connections_max: i64,
    ) -> JoinHandle<()> {
        let Self { service, backups, metrics, fast_path, access_log, traces, stop } = self;
        let admission = Arc::new(Admission::new(
            access,
            Arc::clone(&service.quotas),
            *access_log,
            Arc::clone(metrics),
            traces.clone(),
        ));
        let fast = FastPath { service: service.clone(), admission: Arc::clone(&admission) };
        let endpoint = endpoint(service.clone(), backups.clone(), Arc::clone(metrics), admission);
        let connections = Connections {
            endpoint: Arc::new(endpoint),
            fast_path: fast_path.then_some(fast),
            metrics: Arc::clone(metrics),
            tls,
            connections_max,
            stop: stop.clone(),
        };
        tokio::spawn(connections.serve(listener))
    }
}

/// Listens with room for a crowd that comes at once: where the queue of new connections is full, the
/// kernel drops them, and each tries again only after a second.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As with any server: connections of an earlier run that still fade away are no obstacle.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(NEW_CONNECTIONS_MAX)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening().map_err(|error| ServeError::Listen(address, error))
}

async fn signalled((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Deletes expired rows, a little at a time.
async fn sweep(backend: Arc<dyn Backend>) {
    loop {
        match backend.sweep(SWEEP_ROWS).await {
            Ok(SWEEP_ROWS) => tokio::task::yield_now().await,
            Ok(_) => tokio::time::sleep(SWEEP_EVERY).await,
            Err(error) => {
                tracing::warn!(%error, "deleting expired rows failed; it is tried again");
                tokio::time::sleep(SWEEP_EVERY * 10).await;
            }
        }
    }
}

/// Ends imports whose server is gone: no store wakes anyone for that.
async fn end_abandoned_imports(frontend: Frontend) {
    loop {
        if let Err(error) = dragon_transfer::resume_abandoned(&frontend).await {
            tracing::debug!(%error, "looking for interrupted imports failed; it is tried again");
        }
        tokio::time::sleep(jittered(IMPORTS_EVERY)).await;
    }
}

fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < FILES_WANTED => tracing::warn!(
            files,
            wanted = FILES_WANTED,
            "few files may be open at once: with many clients, connections will be refused (see ulimit -n)"
        ),
        Ok(files) => tracing::debug!(files, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
