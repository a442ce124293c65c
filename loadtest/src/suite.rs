//! Runs steps one after another. One that fails is noted, and the others run all the same.

use crate::on_database;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::peers::Peers;
use crate::plan::{Length, OnDatabase, Place, Scenario, Step, Target};
use crate::probe::until_ready;
use crate::process;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::scenarios;
use crate::server::{Server, Starter};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a step may take beyond its own length: setting up a crowd, filling a store, checking the end.
const STEP_TIME_OVER_MAX: Duration = Duration::from_secs(300);

/// How long servers on a new database may take to reach it and make their tables.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

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
        (None, None) => beside_this_program("cloud-dragon", "--server-bin")?,
    };
    let start = process::Start { folder: servers.folder.clone(), cpus: cpus.clone() };
    let peers = if servers.with_peers { Some(Peers::new(start)?) } else { None };
    let (store, folder) = (servers.store.clone(), servers.folder.clone());
    let steps = options.steps();
    let is_on_database = steps.iter().any(|step| matches!(step.target, Target::OnDatabase(_)));
    ensure!(running.is_none() || !is_on_database, "servers on a database are started here: not with --url");
    let has_one_by_one = steps.iter().any(|step| step.target == Target::OnDatabase(OnDatabase::OneByOne));
    let one_by_one = match &servers.one_by_one_bin {
        Some(program) => program.clone(),
        None if has_one_by_one => beside_this_program("dragon-one-by-one", "--one-by-one-bin")?,
        None => PathBuf::new(),
    };
    let cluster_file = servers.fdb_cluster_file.clone();
    let starter = Starter { program, one_by_one, folder, store, cluster_file, running, cpus };
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
                run.kept.remove(&(step.target, step.place));
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
    kept: HashMap<(Target, Place), Server>,
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
            // It needs servers of its own, and starts them on files.
            Target::OnDatabase(_) if *scenario == Scenario::IdleLongPolls => return Ok(None),
            Target::CloudDragon | Target::OnDatabase(_) => {
                let key = (*target, *place);
                if *place == Place::New {
                    self.kept.remove(&key);
                }
                match (self.kept.entry(key), target) {
                    (Entry::Occupied(kept), _) => kept.into_mut(),
                    (Entry::Vacant(none), Target::OnDatabase(on)) => {
                        let server = self.starter.on_database(*on)?;
                        until_ready(&server, READY_TIME_MAX).await?;
                        none.insert(server)
                    }
                    (Entry::Vacant(none), _) => none.insert(self.starter.server()?),
                }
            }
        };
        let before = on_database::Counts::of(server).await?;
        let outcome = scenarios::run(*scenario, parameters, server, &self.starter).await?;
        Ok(Some(before.until_now(server, outcome).await?))
    }

    /// Ends the servers that no later step uses.
    fn forget(&mut self, later: &[Step]) {
        self.kept.retain(|(target, place), _| {
            *place != Place::New && later.iter().any(|step| (step.target, step.place) == (*target, *place))
        });
    }
}

fn beside_this_program(name: &str, option: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(
        program.is_file(),
        "there is no {}: build it (cargo build --release), or name it with {option}",
        program.display()
    );
    Ok(program)
}
