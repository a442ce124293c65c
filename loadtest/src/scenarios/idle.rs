//! `idle-long-polls`: what a waiting client costs in memory. Each kind gets a new server, since memory that
//! was used once stays with a process.

use crate::answers::Granted;
use crate::crowd;
use crate::drive::Begin;
use crate::http::Request;
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::probe::{self, ask, until_queued, until_watching};
use crate::server::{Server, Starter};
use crate::space::{Space, key_name};
use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

const ARM_TIME_MAX: Duration = Duration::from_secs(30);
/// For the server to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(1);
/// Requests that bring the server's own caches and buffers into being.
const WARM_UP_REQUESTS: usize = 500;

/// What the clients wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// One key to change.
    WatchOneKey,
    /// Each for another key to change.
    WatchOwnKeys,
    /// One lock.
    Lock,
}

impl Wait {
    /// All kinds.
    const ALL: [Self; 3] = [Self::WatchOneKey, Self::WatchOwnKeys, Self::Lock];

    /// For the table.
    fn name(self) -> &'static str {
        match self {
            Self::WatchOneKey => "watchers of one key",
            Self::WatchOwnKeys => "watchers of a key each",
            Self::Lock => "waiters for one lock",
        }
    }
}

/// What the server's memory was.
struct Idle {
    /// Before any of them came.
    before_kib: u64,
    /// With all of them connected and nothing asked.
    connected_kib: u64,
    /// With all of them waiting.
    waiting_kib: u64,
}

/// Measures all kinds. Where the server runs already, the memory that it kept from earlier work may hide some.
///
/// # Errors
/// For a wrong answer, or when not all of them wait.
pub async fn run(starter: &Starter, parameters: &Parameters) -> Result<Outcome> {
    let waiters = parameters.connections;
    let mut outcome = Outcome::default();
    for wait in Wait::ALL {
        let server = starter.server()?;
        let begin = Begin::now(&server.processes())?;
        let idle = measure(&server, wait, waiters).await.context(wait.name())?;
        outcome.measured = begin.end(&server.processes())?;
        let Some(Idle { before_kib, connected_kib, waiting_kib }) = idle else { continue };
        let each = |kib: u64| kib.saturating_sub(before_kib) as f64 / waiters.max(1) as f64;
        outcome = outcome
            .with(&format!("{}, KiB each", wait.name()), each(waiting_kib))
            .with(&format!("{}, of it the connection", wait.name()), each(connected_kib));
    }
    outcome.measured.units = waiters as u64;
    Ok(outcome)
}

/// Measures one kind; `None` where the server's process is not known.
async fn measure(server: &Server, wait: Wait, waiters: usize) -> Result<Option<Idle>> {
    let (address, account) = (server.address, Space::new("idle", 1, waiters).account(0));
    let warmed_up = probe::account(address, &account)?;
    for request in 0..WARM_UP_REQUESTS {
        warmed_up.transact(dragon_client::Request::new().set("warm-up", &request)?).await?;
    }
    let path = format!("/db/{account}");
    let _: Granted = ask(address, &path, &json!({"LockID": "held", "LockDur": 300})).await?;
    tokio::time::sleep(REST).await;
    let before = server.processes().rss_kib()?;
    let crowd = crowd::connect(server, waiters).await?;
    tokio::time::sleep(REST).await;
    let connected = server.processes().rss_kib()?;
    let request = |number: usize| match wait {
        Wait::WatchOneKey => ("watch", json!({"ID": "watched", "Version": 0, "Wait": 300})),
        Wait::WatchOwnKeys => ("watch", json!({"ID": key_name(number), "Version": 0, "Wait": 300})),
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
            Wait::WatchOneKey | Wait::WatchOwnKeys => {
                until_watching(address, waiters, ARM_TIME_MAX).await?;
            }
            Wait::Lock => until_queued(address, &account, waiters, ARM_TIME_MAX).await?,
        }
        tokio::time::sleep(REST).await;
        anyhow::Ok(())
    };
    tokio::select! {
        rested = rest => rested?,
        Some(answer) = answers.join_next() => bail!("nothing has happened, and {}", answer??),
    }
    let waiting = server.processes().rss_kib()?;
    Ok(before.zip(connected).zip(waiting).map(|((before_kib, connected_kib), waiting_kib)| Idle {
        before_kib,
        connected_kib,
        waiting_kib,
    }))
}
