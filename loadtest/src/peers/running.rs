//! Starts the peers when they are first needed, and gives them their steps.

use crate::outcome::Outcome;
use crate::peers::etcd::Etcd;
use crate::peers::postgres::Postgres;
use crate::peers::redis::Redis;
use crate::peers::work::Run;
use crate::peers::{Promise, client, promises};
use crate::plan::{Parameters, Peer, Scenario};
use crate::process::{Start, find};
use anyhow::{Context as _, Result, bail};
use std::process::Command;

/// The peers that run.
#[derive(Debug)]
pub struct Peers {
    start: Start,
    steps: u64,
    redis: State<Redis>,
    etcd: State<Etcd>,
    postgres: State<Postgres>,
}

/// How far a peer is.
#[derive(Debug, Default)]
enum State<P> {
    /// Nothing was asked of it yet.
    #[default]
    Idle,
    /// Its program is not on this machine.
    Missing,
    /// It runs.
    Running { peer: P, version: String },
}

impl Peers {
    /// None that runs yet.
    ///
    /// # Errors
    /// Never, in a program that was built with them.
    pub fn new(start: Start) -> Result<Self> {
        let (redis, etcd, postgres) = (State::Idle, State::Idle, State::Idle);
        Ok(Self { start, steps: 0, redis, etcd, postgres })
    }

    /// Does one step; `None` where the peer has nothing that does the scenario's work, or its program is not
    /// here.
    ///
    /// # Errors
    /// When it does not start, answers wrongly, or holds something else at the end than it was told.
    pub async fn run(
        &mut self,
        peer: Peer,
        scenario: Scenario,
        parameters: &Parameters,
    ) -> Result<Option<Outcome>> {
        if promises::refusal(peer, scenario, parameters).is_some() {
            return Ok(None);
        }
        self.steps += 1;
        let step = Step { name: format!("run-{}", self.steps), scenario, parameters };
        match peer {
            Peer::Redis => Box::pin(self.redis.run(peer, &self.start, step)).await,
            Peer::Etcd => Box::pin(self.etcd.run(peer, &self.start, step)).await,
            Peer::Postgres => Box::pin(self.postgres.run(peer, &self.start, step)).await,
        }
    }

    /// What the peers that were started promise.
    #[must_use]
    pub fn promises(&self) -> Vec<Promise> {
        let versions = [
            (Peer::Redis, self.redis.version()),
            (Peer::Etcd, self.etcd.version()),
            (Peer::Postgres, self.postgres.version()),
        ];
        versions.into_iter().filter_map(|(peer, version)| Some(promises::of(peer, version?))).collect()
    }
}

/// What is to be done.
struct Step<'a> {
    name: String,
    scenario: Scenario,
    parameters: &'a Parameters,
}

impl<P: client::Peer> State<P> {
    async fn run(&mut self, peer: Peer, start: &Start, step: Step<'_>) -> Result<Option<Outcome>> {
        if matches!(self, Self::Idle) {
            *self = Self::start(peer, start).await?;
        }
        let Self::Running { peer, .. } = self else { return Ok(None) };
        let Step { name, scenario, parameters } = step;
        let run = Run { peer, name, parameters };
        let outcome = match scenario {
            Scenario::KvWrite => run.kv_write().await,
            Scenario::KvRead => run.kv_read().await,
            Scenario::Counter => run.counter().await,
            Scenario::Cas => run.cas().await,
            Scenario::Mixed => run.mixed().await,
            Scenario::LockPairs => run.lock_pairs().await,
            Scenario::WatchOne | Scenario::WatchMany => run.watch().await,
            other => bail!("no peer is asked to do {}", other.name()),
        };
        outcome.map(Some)
    }

    async fn start(peer: Peer, start: &Start) -> Result<Self> {
        for program in P::PROGRAMS {
            if find(program).is_none() {
                eprintln!(
                    "skipped: no {program}; install Debian's package `{}` to compare with it",
                    P::PACKAGE
                );
                return Ok(Self::Missing);
            }
        }
        let version = version(P::PROGRAMS.last().context("a peer without programs")?)?;
        let started = P::start(start).await.with_context(|| format!("starting {peer:?}"))?;
        Ok(Self::Running { peer: started, version })
    }

    fn version(&self) -> Option<&str> {
        match self {
            Self::Running { version, .. } => Some(version),
            Self::Idle | Self::Missing => None,
        }
    }
}

/// The first line of what a program says of itself.
fn version(program: &str) -> Result<String> {
    let program = find(program).with_context(|| format!("there is no {program}"))?;
    let output = Command::new(program).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpus::Cpus;
    use crate::plan::Length;
    use std::io::Write as _;
    use std::time::Duration;
    use tokio::task::LocalSet;

    const SCENARIOS: [Scenario; 8] = [
        Scenario::KvWrite,
        Scenario::KvRead,
        Scenario::Counter,
        Scenario::Cas,
        Scenario::Mixed,
        Scenario::LockPairs,
        Scenario::WatchOne,
        Scenario::WatchMany,
    ];

    /// Lets the real program do each scenario, on some keys and with all workers on one.
    async fn does_everything(peer: Peer) {
        let start = Start { folder: std::env::temp_dir(), cpus: Cpus::pin(None, None).unwrap() };
        let mut peers = Peers::new(start).unwrap();
        for scenario in SCENARIOS {
            for (accounts, keys) in [(2, 3), (1, 1)] {
                let parameters = Parameters {
                    connections: 5,
                    accounts,
                    keys,
                    wakes: 2,
                    warm_up: Duration::from_millis(50),
                    // Not a time: on a busy machine a sync may take longer than any that a test should.
                    length: Length::Units(100),
                    ..Parameters::default()
                };
                let outcome = peers.run(peer, scenario, &parameters).await;
                let outcome = outcome.unwrap_or_else(|error| panic!("{peer:?}, {scenario:?}: {error:?}"));
                let Some(outcome) = outcome else {
                    // Not `eprintln`, which is not shown of a test that passes.
                    writeln!(std::io::stderr(), "SKIPPED: {peer:?} is not on this machine").unwrap();
                    return;
                };
                let measured = outcome.measured;
                assert!(measured.units > 0 && measured.latency.count() > 0, "{peer:?}, {scenario:?}");
                assert!(measured.operations >= measured.units && measured.server_cpu.is_some());
            }
        }
        let [Promise { name, durability, .. }] = &peers.promises()[..] else { panic!("one peer runs") };
        assert!(name.contains(char::is_numeric) && durability.contains("sync"), "{name}");
        let echo = peers.run(peer, Scenario::Echo, &Parameters::default()).await;
        assert!(echo.unwrap().is_none(), "it is not asked for this");
    }

    #[tokio::test]
    async fn redis_does_everything() {
        LocalSet::new().run_until(does_everything(Peer::Redis)).await;
    }

    #[tokio::test]
    async fn etcd_does_everything() {
        LocalSet::new().run_until(does_everything(Peer::Etcd)).await;
    }

    #[tokio::test]
    async fn postgres_does_everything() {
        LocalSet::new().run_until(does_everything(Peer::Postgres)).await;
    }
}
