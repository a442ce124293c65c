//! The writes and the echo that they are measured against, in turns, so that what disturbs the machine
//! disturbs them alike.

use crate::closed_loop::{Exchange, Measured, Timing, run};
use crate::latency::Percentiles;
use crate::probe::new_account;
use crate::scenarios::counter::{self, CounterExchange};
use crate::scenarios::echo::EchoExchange;
use crate::scenarios::kv::{self, KvExchange};
use crate::server::Server;
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::time::Duration;

/// Who is written to, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Nothing is written: the reference.
    Echo,
    /// One key.
    KvOneKey,
    /// 1,000 keys by chance.
    #[serde(rename = "kv-1000-keys")]
    Kv1000Keys,
    /// One counter.
    CounterOneKey,
}

impl Load {
    /// The scenario's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::KvOneKey => "kv-one-key",
            Self::Kv1000Keys => "kv-1000-keys",
            Self::CounterOneKey => "counter-one-key",
        }
    }
}

/// One load at one number of connections, in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// What was done.
    pub load: Load,
    /// At how many connections.
    pub connections: usize,
    /// In which round, from 0.
    pub round: usize,
    /// Requests in the time that counts.
    pub requests: u64,
    /// Requests a second.
    pub requests_per_s: f64,
    /// CPU time of the server a request.
    pub server_cpu_us: Option<f64>,
    /// CPU time of the client a request.
    pub client_cpu_us: f64,
    /// How much of a core the client used; near 1, it is the client that is measured.
    pub client_cores: f64,
    /// Latencies.
    #[serde(flatten)]
    pub latency: Percentiles,
}

impl Cell {
    fn new(load: Load, connections: usize, round: usize, measured: &Measured) -> Self {
        let requests = measured.units;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
        let wall_s = measured.wall.as_secs_f64();
        Self {
            load,
            connections,
            round,
            requests,
            requests_per_s: requests as f64 / wall_s,
            server_cpu_us: measured.server_cpu.map(each),
            client_cpu_us: each(measured.client_cpu),
            client_cores: measured.client_cpu.as_secs_f64() / wall_s,
            latency: measured.latency,
        }
    }
}

/// Runs one cell.
///
/// # Errors
/// For the first wrong answer, or an update that is lost.
pub async fn run_cell(
    server: &Server,
    load: Load,
    connections: usize,
    round: usize,
    timing: Timing,
) -> Result<Cell> {
    let (address, account) = (server.address, new_account(load.name()));
    let measured = match load {
        Load::Echo => measure(server, connections, timing, |n| EchoExchange::new(address, n)).await?.0,
        Load::KvOneKey | Load::Kv1000Keys => {
            let keys = if load == Load::KvOneKey { 1 } else { 1_000 };
            let new = |connection| KvExchange::new(address, &account, connection, keys);
            let (measured, done) = measure(server, connections, timing, new).await?;
            kv::verify(address, &account, &done).await?;
            measured
        }
        Load::CounterOneKey => {
            let new = |_| CounterExchange::new(address, &account);
            let (measured, done) = measure(server, connections, timing, new).await?;
            counter::verify(address, &account, &done).await?;
            measured
        }
    };
    Ok(Cell::new(load, connections, round, &measured))
}

async fn measure<E: Exchange>(
    server: &Server,
    connections: usize,
    timing: Timing,
    new: impl Fn(usize) -> E,
) -> Result<(Measured, Vec<E>)> {
    run(server, (0..connections).map(new).collect(), timing)
        .await
        .with_context(|| format!("at {connections} connections"))
}
