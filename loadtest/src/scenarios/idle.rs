//! `idle-long-polls`: what a waiting client costs in memory. Each kind gets a new server, since memory that
//! was used once stays with a process.

use crate::crowd;
use crate::http::Request;
use crate::probe::{ask, new_account, set, until_queued, until_watching};
use crate::scenarios::lock_pairs::Granted;
use crate::server::Server;
use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

const ARM_TIME_MAX: Duration = Duration::from_secs(30);
/// For the server to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(1);
/// Requests that bring the server's own caches and buffers into being.
const WARM_UP_REQUESTS: usize = 500;

/// What the clients wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// One key to change.
    WatchOneKey,
    /// Each for another key to change.
    WatchOwnKeys,
    /// One lock.
    Lock,
}

impl Wait {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::WatchOneKey, Self::WatchOwnKeys, Self::Lock];

    /// For the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WatchOneKey => "watchers of one key",
            Self::WatchOwnKeys => "watchers of a key each",
            Self::Lock => "waiters for one lock",
        }
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Idle {
    /// What they waited for.
    pub wait: Wait,
    /// Whether the server had done nothing before; else memory that it kept may hide some.
    pub new_server: bool,
    /// How many waited.
    pub waiters: usize,
    /// The server's memory before any of them came.
    pub before_kib: u64,
    /// With all of them connected and nothing asked.
    pub connected_kib: u64,
    /// With all of them waiting.
    pub waiting_kib: u64,
}

impl Idle {
    /// Memory that each takes, connection and all.
    #[must_use]
    pub fn each_kib(&self) -> f64 {
        self.waiting_kib.saturating_sub(self.before_kib) as f64 / self.waiters.max(1) as f64
    }

    /// The part of it that a connection takes on which nothing was ever asked.
    #[must_use]
    pub fn connection_kib(&self) -> f64 {
        self.connected_kib.saturating_sub(self.before_kib) as f64 / self.waiters.max(1) as f64
    }
}

/// Measures one kind; `None` where the server's process is not known.
///
/// # Errors
/// For a wrong answer, or when not all of them wait.
pub async fn run(server: &Server, wait: Wait, waiters: usize) -> Result<Option<Idle>> {
    let (address, account) = (server.address, new_account("idle"));
    for request in 0..WARM_UP_REQUESTS {
        set(address, &account, "warm-up", &request.to_string()).await?;
    }
    let path = format!("/db/{account}");
    let _: Granted = ask(address, &path, &json!({"LockID": "held", "LockDur": 300})).await?;
    tokio::time::sleep(REST).await;
    let before = server.rss_kib()?;
    let crowd = crowd::connect(server, waiters).await?;
    tokio::time::sleep(REST).await;
    let connected = server.rss_kib()?;
    let request = |number: usize| match wait {
        Wait::WatchOneKey => ("watch", json!({"ID": "watched", "Version": 0, "Wait": 300})),
        Wait::WatchOwnKeys => ("watch", json!({"ID": format!("key-{number:06}"), "Version": 0, "Wait": 300})),
        Wait::Lock => ("db", json!({"LockID": "held", "LockDur": 60, "LockWait": 300})),
    };
    let mut answers = JoinSet::new();
    for (number, mut connection) in crowd.into_iter().enumerate() {
        let (route, body) = request(number);
        let request = Request::post(address, &format!("/{route}/{account}"), &body.to_string());
        connection.send(request.bytes()).await?;
        answers.spawn_local(async move {
            let answer = connection.receive().await?;
            anyhow::Ok(format!("waiter {number} was answered {}: {}", answer.status, answer.text()))
        });
    }
    let rest = async {
        match wait {
            Wait::WatchOneKey | Wait::WatchOwnKeys => until_watching(address, waiters, ARM_TIME_MAX).await?,
            Wait::Lock => until_queued(address, &account, waiters, ARM_TIME_MAX).await?,
        }
        tokio::time::sleep(REST).await;
        anyhow::Ok(())
    };
    tokio::select! {
        rested = rest => rested?,
        Some(answer) = answers.join_next() => bail!("nothing has happened, and {}", answer??),
    }
    let waiting = server.rss_kib()?;
    Ok(before.zip(connected).zip(waiting).map(|((before_kib, connected_kib), waiting_kib)| Idle {
        wait,
        new_server: server.is_own(),
        waiters,
        before_kib,
        connected_kib,
        waiting_kib,
    }))
}
