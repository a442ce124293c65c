//! A TCP proxy that does to connections what networks do.

use crate::random::Random;
use anyhow::Context as _;
use parking_lot::Mutex;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::sleep;

const BUFFER_BYTES: usize = 64 << 10;
/// Commands that a connection may be behind with; after more it is cut.
const COMMANDS: usize = 64;

/// A proxy on a free port of 127.0.0.1. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// None while there is nothing behind it yet.
    target: Mutex<Option<SocketAddr>>,
    random: Mutex<Random>,
    answers_to_lose: AtomicUsize,
    /// Of so many answers one is lost, as chance has it; 0: none.
    loses_one_in: AtomicUsize,
    answers_lost: AtomicUsize,
    /// Up to so long each way.
    delay_max_ms: AtomicU64,
    swallows: AtomicBool,
    connections: AtomicUsize,
    commands: broadcast::Sender<Command>,
}

/// What to do to all connections that are open.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    /// Reset them on both sides.
    Cut,
    /// Reset the clients' sides, and have the server believe that all is well until the next cut.
    Orphan,
}

impl Proxy {
    /// Starts one that leads to nothing yet: it closes what comes.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for a proxy")?;
        let address = listener.local_addr().context("a port for a proxy")?;
        let shared = Arc::new(Shared {
            target: Mutex::default(),
            random: Mutex::new(Random::new(seed)),
            answers_to_lose: AtomicUsize::default(),
            loses_one_in: AtomicUsize::default(),
            answers_lost: AtomicUsize::default(),
            delay_max_ms: AtomicU64::default(),
            swallows: AtomicBool::default(),
            connections: AtomicUsize::default(),
            commands: broadcast::Sender::new(COMMANDS),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections there.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock() = Some(target);
    }

    /// Resets all connections, orphans too.
    pub fn cut(&self) {
        // Nobody listens where there are no connections.
        drop(self.shared.commands.send(Command::Cut));
    }

    /// Resets the clients' sides of all connections, and leaves the server to believe that they are still there,
    /// until the next cut.
    pub fn orphan(&self) {
        drop(self.shared.commands.send(Command::Orphan));
    }

    /// Resets the connections by which the next so many answers come, instead of passing these on.
    pub fn lose_answers(&self, count: usize) {
        self.shared.answers_to_lose.store(count, Ordering::SeqCst);
    }

    /// Resets from now on the connections by which one of so many answers comes, as chance has it. Zero: no more.
    pub fn lose_one_in(&self, answers: usize) {
        self.shared.loses_one_in.store(answers, Ordering::SeqCst);
    }

    /// How many answers have been lost by these.
    #[must_use]
    pub fn answers_lost(&self) -> usize {
        self.shared.answers_lost.load(Ordering::SeqCst)
    }

    /// Delays what goes either way by up to so long, each time as chance has it. Zero: no more.
    pub fn delay_up_to(&self, max: Duration) {
        let max_ms = max.as_millis().try_into().unwrap_or(u64::MAX);
        self.shared.delay_max_ms.store(max_ms, Ordering::SeqCst);
    }

    /// Whether what goes either way is thrown away while connections stay open and new ones are taken. What a
    /// connection has lost is missing in it for good, so all have to be cut in the end.
    pub fn swallow(&self, swallow: bool) {
        self.shared.swallows.store(swallow, Ordering::SeqCst);
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                // From here on, so that no cut is missed.
                let commands = shared.commands.subscribe();
                tokio::spawn(serve(client, Arc::clone(&shared), commands));
            }
            // Too many files are open, or the client has gone already.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>, mut commands: broadcast::Receiver<Command>) {
    let target = *shared.target.lock();
    let connected = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(server) = connected else { return reset(&client) };
    // What is held up here shall not be held up by the kernel as well.
    let no_delay = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    if no_delay.is_err() {
        return;
    }
    let (mut client, mut server) = (client, server);
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            end = pass(from_client, to_server, &shared, false) => end,
            end = pass(from_server, to_client, &shared, true) => end,
            command = commands.recv() => match command {
                Ok(Command::Orphan) => End::Orphaned,
                _ => End::Cut,
            },
        }
    };
    match ended {
        // What was passed on before arrives.
        End::Closed => {}
        End::Cut => {
            reset(&client);
            reset(&server);
        }
        End::Orphaned => {
            reset(&client);
            drop(client);
            tokio::select! {
                () = read_on(&mut server) => {}
                () = until_cut(&mut commands) => reset(&server),
            }
        }
    }
}

/// How a connection ends.
enum End {
    /// By one of its sides.
    Closed,
    Cut,
    Orphaned,
}

/// Passes on what comes from one side, until that closes or the other takes nothing any more.
async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared, are_answers: bool) -> End {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut is_torn = false;
    loop {
        let Ok(bytes @ 1..) = from.read(&mut buffer).await else {
            if shared.swallows.load(Ordering::SeqCst) {
                // The other side does not hear of the end either.
                std::future::pending::<()>().await;
            }
            return End::Closed;
        };
        if are_answers && shared.takes_answer_to_lose() {
            return End::Cut;
        }
        if let Some(delay) = shared.delay() {
            sleep(delay).await;
        }
        is_torn |= shared.swallows.load(Ordering::SeqCst);
        if is_torn {
            continue;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return End::Closed;
        }
    }
}

/// Throws away what comes from a side until that closes.
async fn read_on(side: &mut TcpStream) {
    let mut thrown_away = vec![0; 4_096];
    while let Ok(1..) = side.read(&mut thrown_away).await {}
}

async fn until_cut(commands: &mut broadcast::Receiver<Command>) {
    while commands.recv().await == Ok(Command::Orphan) {}
}

/// Has the side see a reset, not an orderly end, when it is dropped. A connection that is broken already needs none.
fn reset(side: &TcpStream) {
    drop(side.set_zero_linger());
}

impl Shared {
    fn delay(&self) -> Option<Duration> {
        let max_ms = self.delay_max_ms.load(Ordering::SeqCst);
        (max_ms > 0).then(|| self.random.lock().millis(0..=max_ms))
    }

    fn takes_answer_to_lose(&self) -> bool {
        let less = |count: usize| count.checked_sub(1);
        let one_in = self.loses_one_in.load(Ordering::SeqCst);
        let taken = self.answers_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
            || (one_in > 0 && self.random.lock().below(one_in) == 0);
        if taken {
            self.answers_lost.fetch_add(1, Ordering::SeqCst);
        }
        taken
    }
}
