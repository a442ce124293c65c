//! Looks at a server from aside: single questions, each on a connection of its own, and what the server
//! counts.

use crate::client::Connection;
use crate::http::Request;
use crate::server::Server;
use anyhow::{Context as _, Result, ensure};
use dragon_client::{Account, Client, LockState};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const POLL_EVERY: Duration = Duration::from_millis(5);

/// A connection for questions from aside.
#[derive(Debug)]
pub struct Probe {
    address: SocketAddr,
    connection: Connection,
}

impl Probe {
    /// Connects.
    ///
    /// # Errors
    /// When it can't.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self { address, connection: Connection::open(address).await? })
    }

    /// Asks once.
    ///
    /// # Errors
    /// When the answer is not 200 or not of this shape.
    pub async fn ask<T: DeserializeOwned>(&mut self, path: &str, body: &Value) -> Result<T> {
        let body = body.to_string();
        let request = Request::post(self.address, path, &body);
        let answer = self.connection.exchange(&request).await?;
        answer.read().with_context(|| format!("{path} {}", &body[..body.len().min(200)]))
    }
}

/// Asks once, on a connection of its own.
///
/// # Errors
/// When the answer is not 200 or not of this shape.
pub async fn ask<T: DeserializeOwned>(address: SocketAddr, path: &str, body: &Value) -> Result<T> {
    Probe::open(address).await?.ask(path, body).await
}

/// An account, by the client for Rust. Load is made without it, since the client would be measured along with the server.
///
/// # Errors
/// For a name that is none.
pub fn account(address: SocketAddr, name: &str) -> Result<Account> {
    Ok(Client::new(&format!("http://{address}"))?.account(name)?)
}

/// A counter or gauge of the server, where it shows one by this name.
///
/// # Errors
/// When the server does not answer.
pub async fn metric(address: SocketAddr, name: &str) -> Result<Option<f64>> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.exchange(&Request::get(address, "/metrics")).await?;
    if answer.status != 200 {
        return Ok(None);
    }
    Ok(parse_metric(std::str::from_utf8(answer.body)?, name))
}

/// A counter or gauge, of all frontends of a server together.
///
/// # Errors
/// When one does not answer.
pub async fn total(server: &Server, name: &str) -> Result<Option<f64>> {
    let mut total = None;
    for frontend in server.frontends() {
        let one = metric(frontend, name).await?;
        total = one.map(|one| one + total.unwrap_or_default()).or(total);
    }
    Ok(total)
}

fn parse_metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Waits until each of the server's frontends says that it is ready: one may listen before its store is reached.
///
/// # Errors
/// When one is not within `limit`.
pub async fn until_ready(server: &Server, limit: Duration) -> Result<()> {
    let begun = Instant::now();
    for frontend in server.frontends() {
        let ready = Request::get(frontend, "/health/ready");
        while Connection::open(frontend).await?.exchange(&ready).await?.status != 200 {
            ensure!(begun.elapsed() < limit, "{frontend} is not ready after {limit:?}");
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
    Ok(())
}

/// Waits until the server shows that so many wait for a key to change. Returns whether it did; one that does
/// not tell is given some time.
///
/// # Errors
/// When they do not within `limit`.
pub async fn until_watching(address: SocketAddr, watchers: usize, limit: Duration) -> Result<bool> {
    let begun = Instant::now();
    loop {
        let Some(watching) = metric(address, "dragon_watchers").await? else {
            // A server that does not tell: as long as it takes at the worst, and some more.
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Ok(false);
        };
        if watching >= watchers as f64 {
            return Ok(true);
        }
        ensure!(begun.elapsed() < limit, "only {watching} of {watchers} watchers wait after {limit:?}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The locks that are held in an account.
///
/// # Errors
/// When that can't be told.
pub async fn held_locks(address: SocketAddr, account_name: &str) -> Result<Vec<LockState>> {
    Ok(account(address, account_name)?.locks("").all().await?)
}

/// Waits until exactly so many wait for the one lock of an account.
///
/// # Errors
/// When they do not within `limit`.
pub async fn until_queued(
    address: SocketAddr,
    account_name: &str,
    waiters: usize,
    limit: Duration,
) -> Result<()> {
    let account = account(address, account_name)?;
    let begun = Instant::now();
    loop {
        let waiting = account.locks("").all().await?.first().map_or(0, |lock| lock.waiting);
        if waiting == waiters as u64 {
            return Ok(());
        }
        ensure!(begun.elapsed() < limit, "{waiting} and not {waiters} wait for the lock after {limit:?}");
        tokio::task::yield_now().await;
    }
}

/// A server for tests that gives every connection the same answer.
#[cfg(test)]
pub async fn canned(body: &'static str) -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics() {
        let text = "# TYPE a gauge\na 12\na_total 3.5\nb{le=\"1\"} 7\n# EOF\n";
        assert_eq!(parse_metric(text, "a"), Some(12.0));
        assert_eq!(parse_metric(text, "a_total"), Some(3.5));
        assert_eq!(parse_metric(text, "b"), None);
    }
}
