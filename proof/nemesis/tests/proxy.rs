//! What the proxy does to connections, seen from both sides.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

use dragon_nemesis::proxy::Proxy;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Short enough to wait for what must not come.
const MOMENT: Duration = Duration::from_millis(200);
/// Long enough for what must come, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(10);

struct Line {
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
}

async fn line() -> Line {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(1).await.unwrap();
    proxy.lead_to(listener.local_addr().unwrap());
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    let mut line = Line { proxy, client, server };
    assert!(line.asks().await && line.answers().await);
    line
}

impl Line {
    /// Whether what the client sends reaches the server.
    async fn asks(&mut self) -> bool {
        passes(&mut self.client, &mut self.server, PATIENCE).await
    }

    async fn answers(&mut self) -> bool {
        passes(&mut self.server, &mut self.client, PATIENCE).await
    }

    async fn asks_in_vain(&mut self) -> bool {
        !passes(&mut self.client, &mut self.server, MOMENT).await
    }

    async fn answers_in_vain(&mut self) -> bool {
        !passes(&mut self.server, &mut self.client, MOMENT).await
    }
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, within: Duration) -> bool {
    from.write_all(b"x").await.unwrap();
    matches!(timeout(within, to.read_u8()).await, Ok(Ok(b'x')))
}

async fn is_reset(side: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, side.read_u8()).await;
    matches!(read, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset)
}

async fn is_open(side: &mut TcpStream) -> bool {
    timeout(MOMENT, side.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_cut_resets_both_sides() {
    let mut line = line().await;
    line.proxy.cut();
    assert!(is_reset(&mut line.client).await && is_reset(&mut line.server).await);
}

#[tokio::test]
async fn the_server_of_an_orphan_learns_nothing_until_the_cut() {
    let mut line = line().await;
    line.proxy.orphan();
    assert!(is_reset(&mut line.client).await);
    line.server.write_all(b"x").await.unwrap();
    assert!(is_open(&mut line.server).await);
    line.proxy.cut();
    assert!(is_reset(&mut line.server).await);
}

#[tokio::test]
async fn nothing_passes_while_all_is_swallowed() {
    let mut line = line().await;
    line.proxy.swallow(true);
    assert!(line.asks_in_vain().await && line.answers_in_vain().await);
    assert!(is_open(&mut line.client).await && is_open(&mut line.server).await);
    // What has lost something stays lost.
    line.proxy.swallow(false);
    assert!(line.asks_in_vain().await);
    line.proxy.cut();
    assert!(is_reset(&mut line.client).await);
}

#[tokio::test]
async fn an_end_is_swallowed_too() {
    let mut line = line().await;
    line.proxy.swallow(true);
    drop(line.client);
    assert!(is_open(&mut line.server).await);
}

#[tokio::test]
async fn an_answer_that_is_lost_resets_the_connection() {
    let mut line = line().await;
    line.proxy.lose_answers(1);
    assert!(line.asks().await);
    line.server.write_all(b"x").await.unwrap();
    assert!(is_reset(&mut line.client).await);
    assert_eq!(line.proxy.answers_lost(), 1);
}

#[tokio::test]
async fn delays_pass_everything_in_order() {
    let mut line = line().await;
    line.proxy.delay_up_to(Duration::from_millis(60));
    let begun = Instant::now();
    for number in 0..20 {
        line.client.write_u8(number).await.unwrap();
        assert_eq!(line.server.read_u8().await.unwrap(), number);
    }
    assert!(begun.elapsed() >= Duration::from_millis(200));
    line.proxy.delay_up_to(Duration::ZERO);
    assert!(line.asks().await && line.answers().await);
}

#[tokio::test]
async fn a_side_that_closes_closes_the_other() {
    let mut line = line().await;
    line.server.write_all(b"last").await.unwrap();
    drop(line.server);
    let mut rest = String::new();
    line.client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "last");
}
