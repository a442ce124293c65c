//! `watch-wake`: a crowd watches one key; it is written once, and the clock runs until the last watcher
//! has its answer.

use crate::client::Connection;
use crate::crowd;
use crate::http::Request;
use crate::latency::{Percentiles, median, nanoseconds};
use crate::probe::{self, Written, new_account, until_watching};
use crate::server::Server;
use crate::usage;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const KEY: &str = "watched";
const ARM_TIME_MAX: Duration = Duration::from_secs(30);
const WAKE_TIME_MAX: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Serialize)]
pub struct WatchWake {
    /// How many watched.
    pub watchers: usize,
    /// Every round.
    pub rounds: Vec<Round>,
}

/// One write and its wakes, in milliseconds from when the write was sent.
#[derive(Debug, Serialize)]
pub struct Round {
    /// The write's own answer was here.
    pub written_ms: f64,
    /// The first watcher had its answer.
    pub first_ms: f64,
    /// Half of them.
    pub half_ms: f64,
    /// All of them.
    pub last_ms: f64,
    /// From the write's answer to the last watcher's.
    pub last_after_answer_ms: f64,
    /// CPU time of the server for all of it.
    pub server_cpu_ms: Option<f64>,
    /// CPU time of the client for all of it.
    pub client_cpu_ms: f64,
}

impl WatchWake {
    /// The median of the rounds.
    #[must_use]
    pub fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }
}

/// An answer of a watch or an entry of a read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Changed<'a> {
    key: &'a str,
    version: u64,
    value: &'a str,
}

/// Wakes so many watchers, so many times.
///
/// # Errors
/// For a wrong answer, or a watcher that is not woken.
pub async fn run(server: &Server, watchers: usize, rounds: usize) -> Result<WatchWake> {
    let account = new_account("watch-wake");
    let Written { mut version } = probe::set(server.address, &account, KEY, "round 0").await?;
    let mut connections = crowd::connect(server, watchers).await?;
    let mut done = Vec::with_capacity(rounds);
    // The first round warms up.
    for round in 0..=rounds {
        let (measured, woken) = wake(server, &account, &mut version, round + 1, connections).await?;
        connections = woken;
        if round > 0 {
            done.push(measured);
        }
    }
    Ok(WatchWake { watchers, rounds: done })
}

async fn wake(
    server: &Server,
    account: &str,
    version: &mut u64,
    round: usize,
    connections: Vec<Connection>,
) -> Result<(Round, Vec<Connection>)> {
    let (address, watchers) = (server.address, connections.len());
    let body = json!({"ID": KEY, "Version": *version, "Wait": 300}).to_string();
    let watch = Request::post(address, &format!("/watch/{account}"), &body);
    let value = format!("round {round}");
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        connection.send(watch.bytes()).await?;
        let (value, seen) = (value.clone(), *version);
        tasks.spawn_local(async move {
            let answer = connection.receive().await?;
            let at = Instant::now();
            let changed: Changed<'_> = answer.read()?;
            let right = changed.key == KEY && changed.version > seen && changed.value == value;
            ensure!(right, "woken with {}", answer.text());
            let version = changed.version;
            anyhow::Ok((connection, at, version))
        });
    }
    until_watching(address, watchers, ARM_TIME_MAX).await?;
    let body = json!({"KVSet": [{"Key": KEY, "Value": value}]}).to_string();
    let write = Request::post(address, &format!("/db/{account}"), &body);
    let mut writer = Connection::open(address).await?;
    let cpu_before = (server.cpu_time()?, usage::cpu_time(std::process::id())?);
    let begun = Instant::now();
    writer.send(write.bytes()).await?;
    let written: Written = writer.receive().await?.read()?;
    let written_at = Instant::now();
    let mut connections = Vec::with_capacity(watchers);
    let mut times = Vec::with_capacity(watchers);
    let all = async {
        while let Some(woken) = tasks.join_next().await {
            let (connection, at, version) = woken??;
            ensure!(version == written.version, "woken for {version}, written was {}", written.version);
            connections.push(connection);
            times.push(at);
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(WAKE_TIME_MAX, all).await {
        Ok(result) => result?,
        Err(_) => anyhow::bail!("only {} of {watchers} were woken in {WAKE_TIME_MAX:?}", times.len()),
    }
    let cpu = (server.cpu_time()?, usage::cpu_time(std::process::id())?);
    *version = written.version;
    let cpu_ms = |before: Duration, after: Duration| (after.saturating_sub(before)).as_secs_f64() * 1e3;
    let wakes = Percentiles::of(times.iter().map(|at| nanoseconds(at.duration_since(begun))).collect());
    let first = times.iter().min().map_or(Duration::ZERO, |at| at.duration_since(begun));
    let last = times.iter().max().copied().unwrap_or(written_at);
    let round = Round {
        written_ms: written_at.duration_since(begun).as_secs_f64() * 1e3,
        first_ms: first.as_secs_f64() * 1e3,
        half_ms: wakes.p50_us / 1e3,
        last_ms: wakes.max_us / 1e3,
        last_after_answer_ms: last.saturating_duration_since(written_at).as_secs_f64() * 1e3,
        server_cpu_ms: cpu_before.0.zip(cpu.0).map(|(before, after)| cpu_ms(before, after)),
        client_cpu_ms: cpu_ms(cpu_before.1, cpu.1),
    };
    Ok((round, connections))
}
