//! What a run of workers came to.

use crate::drive::tally::Tally;
use crate::latency::Latencies;
use crate::usage::{self, Processes};
use anyhow::Result;
use std::time::{Duration, Instant};

/// What was measured in the time that counts.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Units done.
    pub units: u64,
    /// Operations done in them.
    pub operations: u64,
    /// Payload that went either way.
    pub bytes: u64,
    /// How long it took.
    pub wall: Duration,
    /// Units that were refused or failed without a wrong answer. Most scenarios end with the first one.
    pub errors: u64,
    /// Of an open loop: how many arrivals at most were due and not begun.
    pub backlog_max: u64,
    /// Of an open loop: how many were never begun, though due, when patience was over.
    pub backlog_left: u64,
    /// From a unit's begin (in an open loop: from when it was due) to its last answer.
    pub latency: Latencies,
    /// CPU time of the server, where its process is known.
    pub server_cpu: Option<Duration>,
    /// The server's memory at the end.
    pub server_rss_kib: Option<u64>,
    /// The most that it was meanwhile.
    pub server_rss_peak_kib: Option<u64>,
    /// CPU time of this process.
    pub client_cpu: Duration,
}

impl Measured {
    /// Adds a round of something that happens at once: one unit for each latency.
    pub fn add_round(&mut self, round: Self, latencies: &Latencies) {
        self.units += latencies.count();
        self.operations += latencies.count();
        self.wall += round.wall;
        self.latency.add(latencies);
        self.server_cpu = round.server_cpu.map(|cpu| cpu + self.server_cpu.unwrap_or_default());
        self.client_cpu += round.client_cpu;
        self.server_rss_kib = round.server_rss_kib;
        self.server_rss_peak_kib = round.server_rss_peak_kib.max(self.server_rss_peak_kib);
    }
}

/// A look at the processes, from which the time that counts begins.
pub struct Begin {
    at: Instant,
    server_cpu: Option<Duration>,
    client_cpu: Duration,
}

impl Begin {
    /// Looks.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn now(server: &Processes) -> Result<Self> {
        server.forget_rss_peak();
        let client_cpu = usage::cpu_time(std::process::id())?;
        Ok(Self { server_cpu: server.cpu_time()?, client_cpu, at: Instant::now() })
    }

    /// When that was.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// What it came to since. Scenarios that time things themselves fill in the rest.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn end(&self, server: &Processes) -> Result<Measured> {
        let wall = self.at.elapsed();
        let since = |before: Duration, after: Duration| after.saturating_sub(before);
        let server_cpu = self.server_cpu.zip(server.cpu_time()?);
        Ok(Measured {
            wall,
            server_cpu: server_cpu.map(|(before, after)| since(before, after)),
            client_cpu: since(self.client_cpu, usage::cpu_time(std::process::id())?),
            server_rss_kib: server.rss_kib()?,
            server_rss_peak_kib: server.rss_peak_kib()?,
            ..Measured::default()
        })
    }

    /// The same, with what the workers counted.
    pub(super) fn end_with(&self, server: &Processes, tally: &Tally) -> Result<Measured> {
        Ok(Measured {
            units: tally.units.get(),
            operations: tally.operations.get(),
            bytes: tally.bytes.get(),
            ..self.end(server)?
        })
    }
}
