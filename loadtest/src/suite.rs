//! Runs the scenarios one after another. One that fails is noted, and the others run all the same.

use crate::machine::Machine;
use crate::options::{Options, Scenario};
use crate::report::Report;
use crate::scenarios::idle::Wait;
use crate::scenarios::writes::Load;
use crate::scenarios::{idle, lock_crowd, lock_pairs, watch_wake, writes};
use crate::server::Server;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::time::Instant;

/// The writes, in the order in which they take turns.
const LOADS: [(Scenario, Load); 4] = [
    (Scenario::Echo, Load::Echo),
    (Scenario::KvOneKey, Load::KvOneKey),
    (Scenario::Kv1000Keys, Load::Kv1000Keys),
    (Scenario::CounterOneKey, Load::CounterOneKey),
];

/// Runs what the options ask for.
///
/// # Errors
/// When nothing can run at all; what fails by itself is in the report.
pub async fn run(options: &Options) -> Result<Report> {
    let begun = Instant::now();
    let mut run = Run { options, report: Report::new(Machine::this()) };
    let outcomes = [
        ("writes", run.writes().await),
        ("watch-wake", run.watch_wake().await),
        ("lock-pairs", run.lock_pairs().await),
        ("idle-long-polls", run.idle_long_polls().await),
        ("lock-crowd", run.lock_crowd().await),
    ];
    for (name, outcome) in outcomes {
        if let Err(error) = outcome {
            run.report.failures.push(format!("{name}: {error:#}"));
        }
    }
    run.report.took_s = begun.elapsed().as_secs_f64();
    Ok(run.report)
}

struct Run<'a> {
    options: &'a Options,
    report: Report,
}

impl Run<'_> {
    /// The server under load: a new one, or the one that runs.
    fn server(&self) -> Result<Server> {
        let options = self.options;
        if let Some(url) = &options.url {
            return Server::running(url, options.pid);
        }
        let program = match &options.server_bin {
            Some(program) => program.clone(),
            None => beside_this_program()?,
        };
        Server::start(&program, &options.folder, options.store.as_deref())
    }

    async fn writes(&mut self) -> Result<()> {
        let loads: Vec<Load> = LOADS
            .iter()
            .filter(|(scenario, _)| self.options.wants(*scenario))
            .map(|(_, load)| *load)
            .collect();
        if loads.is_empty() {
            return Ok(());
        }
        let echo = Server::start_echo()?;
        let server = loads.iter().any(|load| *load != Load::Echo).then(|| self.server()).transpose()?;
        for round in 0..usize::from(self.options.rounds) {
            for &connections in &self.options.connections {
                for &load in &loads {
                    let server = server.as_ref().filter(|_| load != Load::Echo).unwrap_or(&echo);
                    let timing = self.options.timing();
                    let cell = writes::run_cell(server, load, connections, round, timing).await;
                    let cell = cell.with_context(|| load.name())?;
                    progress(&format!(
                        "{} at {connections} connections: {:.0}/s",
                        load.name(),
                        cell.requests_per_s
                    ));
                    self.report.writes.push(cell);
                }
            }
        }
        Ok(())
    }

    async fn watch_wake(&mut self) -> Result<()> {
        if self.options.wants(Scenario::WatchWake) {
            let server = self.server()?;
            let measured = watch_wake::run(&server, self.options.waiters, self.options.wakes.into()).await?;
            progress(&format!("watch-wake: {:.0} ms", measured.median(|round| round.last_ms)));
            self.report.watch_wake = Some(measured);
        }
        Ok(())
    }

    async fn lock_pairs(&mut self) -> Result<()> {
        if self.options.wants(Scenario::LockPairs) {
            let server = self.server()?;
            for _ in 0..self.options.rounds {
                let (contenders, timing) = (self.options.contenders, self.options.timing());
                let measured = lock_pairs::run(&server, contenders, timing, &self.options.folder).await?;
                progress(&format!("lock-pairs: {:.0}/s", measured.pairs_per_s));
                self.report.lock_pairs.push(measured);
            }
        }
        Ok(())
    }

    async fn idle_long_polls(&mut self) -> Result<()> {
        if self.options.wants(Scenario::IdleLongPolls) {
            for wait in Wait::ALL {
                let server = self.server()?;
                let idle = idle::run(&server, wait, self.options.waiters).await.context(wait.name())?;
                if let Some(idle) = idle {
                    progress(&format!("idle-long-polls, {}: {:.1} KiB each", wait.name(), idle.each_kib()));
                    self.report.idle.push(idle);
                }
            }
        }
        Ok(())
    }

    async fn lock_crowd(&mut self) -> Result<()> {
        if self.options.wants(Scenario::LockCrowd) {
            let server = self.server()?;
            let measured = lock_crowd::run(&server, self.options.waiters).await?;
            progress(&format!("lock-crowd: {:.2} s", measured.through_s));
            self.report.lock_crowd = Some(measured);
        }
        Ok(())
    }
}

fn progress(text: &str) {
    eprintln!("{text}");
}

fn beside_this_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("cloud-dragon");
    anyhow::ensure!(
        program.is_file(),
        "there is no {}: build it (cargo build --release), or name it with --server-bin",
        program.display()
    );
    Ok(program)
}
