//! Runs steps one after another. One that fails is noted, and the others run all the same.

use crate::options::Options;
use crate::outcome::Outcome;
use crate::peers::{self, Peers};
use crate::plan::{Length, Place, Step, Target};
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::scenarios;
use crate::server::{Server, Starter};
use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a step may take beyond its own length: setting up a crowd, filling a store, checking the end.
const STEP_TIME_OVER_MAX: Duration = Duration::from_secs(300);

/// Runs what the options ask for.
///
/// # Errors
/// When nothing can run at all; what fails by itself is in the report.
pub async fn run(options: &Options, cpus: crate::cpus::Cpus) -> Result<Report> {
    let begun = Instant::now();
    let servers = &options.servers;
    let running = servers.url.as_ref().map(|url| (url.clone(), servers.pid));
    let program = match (&running, &servers.server_bin) {
        (Some(_), _) => PathBuf::new(),
        (None, Some(program)) => program.clone(),
        (None, None) => beside_this_program()?,
    };
    let start = peers::Start { folder: servers.folder.clone(), cpus: cpus.clone() };
    let peers = if servers.with_peers { Some(Peers::new(start)?) } else { None };
    let (store, folder) = (servers.store.clone(), servers.folder.clone());
    let starter = Starter { program, folder, store, running, cpus };
    let steps = options.steps();
    let mut run = Run { starter, kept: HashMap::new(), echo: None, peers };
    let mut report = Report::new();
    let mut progress = Progress::new(steps.len());
    for (number, step) in steps.iter().enumerate() {
        progress.begin(number, step);
        match progress.beside(run.step(step)).await {
            Ok(Some(outcome)) => {
                let row = Row { step: step.clone(), outcome };
                progress.end(&row.brief());
                report.rows.push(row);
            }
            Ok(None) => progress.end("it has nothing like it"),
            Err(error) => {
                let name = format!("{} on {}", step.scenario.name(), step.target.name());
                let failure = format!("{name} ({}): {error:#}", step.label());
                progress.end(&format!("FAILED: {error:#}"));
                report.failures.push(failure);
                // What it left behind must not disturb the next one.
                run.kept.remove(&step.place);
            }
        }
        run.forget(&steps[number + 1..]);
    }
    report.promises = run.peers.iter().flat_map(Peers::promises).collect();
    report.took_s = begun.elapsed().as_secs_f64();
    Ok(report)
}

struct Run {
    starter: Starter,
    /// Servers that more steps will use.
    kept: HashMap<Place, Server>,
    echo: Option<Server>,
    peers: Option<Peers>,
}

impl Run {
    async fn step(&mut self, step: &Step) -> Result<Option<Outcome>> {
        let length = match step.parameters.length {
            Length::Time(length) => length + step.parameters.warm_up,
            Length::Units(_) => Duration::from_secs(3600),
        };
        let limit = length + STEP_TIME_OVER_MAX;
        match tokio::time::timeout(limit, self.step_without_end(step)).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("not done after {limit:?}"),
        }
    }

    async fn step_without_end(&mut self, step: &Step) -> Result<Option<Outcome>> {
        let Step { scenario, parameters, target, place, .. } = step;
        let server = match target {
            Target::Peer(peer) => {
                let peers = self.peers.as_mut().context("peers were not asked for")?;
                return peers.run(*peer, *scenario, parameters).await;
            }
            Target::Echo => match &mut self.echo {
                Some(echo) => echo,
                none => none.insert(self.starter.echo()?),
            },
            Target::CloudDragon => {
                if *place == Place::New {
                    self.kept.remove(place);
                }
                match self.kept.entry(*place) {
                    std::collections::hash_map::Entry::Occupied(kept) => kept.into_mut(),
                    std::collections::hash_map::Entry::Vacant(none) => none.insert(self.starter.server()?),
                }
            }
        };
        scenarios::run(*scenario, parameters, server, &self.starter).await.map(Some)
    }

    /// Ends the servers that no later step uses.
    fn forget(&mut self, later: &[Step]) {
        self.kept.retain(|place, _| *place != Place::New && later.iter().any(|step| step.place == *place));
    }
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
