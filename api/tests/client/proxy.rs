//! A TCP proxy that does to connections what networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, sleep_until};

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    answers_to_lose: AtomicUsize,
    holds_answers: AtomicBool,
    hides_hang_ups: AtomicBool,
    delays_answers_by_ms: AtomicU64,
    swallows_requests: AtomicBool,
    /// 0: they are not cut.
    cuts_requests_after_ms: AtomicU64,
    cuts: AtomicUsize,
    connections: AtomicUsize,
    commands: broadcast::Sender<Command>,
}

/// What to do to all connections that are open.
#[derive(Clone, Copy, PartialEq)]
enum Command {
    /// Close them.
    Cut,
    /// Close the clients' sides, and have the server believe that all is well.
    Orphan,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            answers_to_lose: AtomicUsize::new(0),
            holds_answers: AtomicBool::new(false),
            hides_hang_ups: AtomicBool::new(false),
            delays_answers_by_ms: AtomicU64::new(0),
            swallows_requests: AtomicBool::new(false),
            cuts_requests_after_ms: AtomicU64::new(0),
            cuts: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            commands: broadcast::Sender::new(16),
        });
        tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(connect(client, Arc::clone(&shared)));
                }
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections there.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Cuts the connections by which the next so many answers come.
    pub fn lose_answers(&self, count: usize) {
        self.shared.answers_to_lose.store(count, Ordering::SeqCst);
    }

    /// How many answers are still to be lost.
    pub fn answers_to_lose(&self) -> usize {
        self.shared.answers_to_lose.load(Ordering::SeqCst)
    }

    /// Whether answers that come from now on are kept from the clients: for good, as if the network were very slow.
    pub fn hold_answers(&self, hold: bool) {
        self.shared.holds_answers.store(hold, Ordering::SeqCst);
    }

    /// Whether the server is left to believe that clients which hang up are still there.
    pub fn hide_hang_ups(&self, hide: bool) {
        self.shared.hides_hang_ups.store(hide, Ordering::SeqCst);
    }

    /// Has each answer take so much longer.
    pub fn delay_answers(&self, delay: Duration) {
        self.shared.delays_answers_by_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Whether requests don't reach the server any more, though connections stay open.
    pub fn swallow_requests(&self, swallow: bool) {
        self.shared.swallows_requests.store(swallow, Ordering::SeqCst);
    }

    /// Cuts the connections of requests that come from now on and are not answered in this time, as gateways do.
    pub fn cut_requests_after(&self, time: Duration) {
        self.shared.cuts_requests_after_ms.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// How many requests were cut by that.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn cut(&self) {
        drop(self.shared.commands.send(Command::Cut));
    }

    pub fn orphan(&self) {
        drop(self.shared.commands.send(Command::Orphan));
    }
}

async fn connect(mut client: TcpStream, shared: Arc<Shared>) {
    let mut commands = shared.commands.subscribe();
    let target = *shared.target.lock().unwrap();
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut cut_at = None;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(bytes @ 1..) = read else {
                    if shared.hides_hang_ups.load(Ordering::SeqCst) {
                        read_on(server).await;
                    }
                    return;
                };
                if shared.swallows_requests.load(Ordering::SeqCst) {
                    continue;
                }
                cut_at = shared.cut_at();
                if server.write_all(&from_client[..bytes]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(bytes @ 1..) = read else { return };
                cut_at = None;
                if shared.takes_answer_to_lose() {
                    return;
                }
                if shared.holds_answers.load(Ordering::SeqCst) {
                    // Until the client goes.
                    return read_on(client).await;
                }
                sleep(Duration::from_millis(shared.delays_answers_by_ms.load(Ordering::SeqCst))).await;
                if client.write_all(&from_server[..bytes]).await.is_err() {
                    return;
                }
            }
            () = sleep_until(cut_at.unwrap_or_else(Instant::now)), if cut_at.is_some() => {
                shared.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            command = commands.recv() => {
                if command == Ok(Command::Orphan) {
                    drop(client);
                    read_on(server).await;
                }
                return;
            }
        }
    }
}

/// Keeps one side open, and throws away what comes from it, until that closes it.
async fn read_on(mut side: TcpStream) {
    let mut thrown_away = vec![0; 4_096];
    while let Ok(1..) = side.read(&mut thrown_away).await {}
}

impl Shared {
    fn cut_at(&self) -> Option<Instant> {
        let after_ms = self.cuts_requests_after_ms.load(Ordering::SeqCst);
        (after_ms > 0).then(|| Instant::now() + Duration::from_millis(after_ms))
    }

    fn takes_answer_to_lose(&self) -> bool {
        let less = |count: usize| count.checked_sub(1);
        self.answers_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}
