//! One campaign, round after round.

use super::clock;
use super::judge::judge;
use super::tally::Tally;
use crate::cluster::{Cluster, Settings};
use crate::faults::Fault;
use crate::load::{Recorder, Round, Tempo, Totals, last_look, wake_all};
use crate::random::Random;
use anyhow::Context as _;
use dragon_checker::history::{Disturbance, History};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long all frontends may take to be ready.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// Faults in one round: more would leave the checker too many operations whose fate is unknown.
const FAULTS_A_ROUND: std::ops::RangeInclusive<u64> = 2..=4;
/// Accounts that are worked on side by side, so that one fault meets several.
const ACCOUNTS: usize = 3;
/// How fast each is worked on: together some hundred requests a second, which a debug build manages beside its clients.
const TEMPO: Tempo = Tempo { per_second: 70, requests_max: 1_000 };

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name in the table.
    pub name: String,
    /// The cluster.
    pub settings: Settings,
    /// What may be done to it.
    pub faults: Vec<Fault>,
    /// How long it lasts; the round under way then is brought to its end.
    pub duration: Duration,
    /// Whether the first problem ends it.
    pub until_problem: bool,
}

/// Runs a campaign. What is found is in the tally.
///
/// # Errors
/// When the cluster can't be started, a fault can't be struck or healed, or a file can't be written: then there is
/// no verdict.
pub async fn run(plan: &Plan) -> anyhow::Result<Tally> {
    let begun = Instant::now();
    let mut cluster = Cluster::start(&plan.settings).await?;
    cluster.wait_until_ready(READY_TIME_MAX).await?;
    let mut random = Random::new(plan.settings.seed);
    let mut tally = Tally { name: plan.name.clone(), ..Tally::default() };
    while begun.elapsed() < plan.duration && (tally.problems.is_empty() || !plan.until_problem) {
        let name = format!("{}-{}-{}", plain(&plan.name), plan.settings.seed, tally.rounds + 1);
        let recorder = Recorder::start();
        let disturbances = round(&mut cluster, plan, &recorder, (&name, &mut random, &mut tally))
            .await
            .with_context(|| format!("round {name}"))?;
        let history = History {
            clock: clock::bounds(
                recorder.machine_clock(),
                plan.settings.store,
                plan.settings.clocks,
                begun.elapsed(),
            ),
            disturbances,
            ended_us: recorder.now_us(),
            operations: recorder.finish(),
        };
        tally.totals.add(&Totals::of(&history.operations));
        let folder = plan.settings.folder.clone();
        let judging = {
            let name = name.clone();
            tokio::task::spawn_blocking(move || judge(&history, &folder, &name))
        };
        let (report, kept) = judging.await??;
        tally.take_in(&name, &report, kept.as_deref());
        tally.problems.extend(recorder.broken_promises().into_iter().map(|text| format!("{name}: {text}")));
        tally.rounds += 1;
    }
    if tally.is_clean() {
        cluster.check_alive()?;
    }
    Ok(tally)
}

/// A campaign's name as a part of accounts' and files' names.
fn plain(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Some accounts' life: load, faults meanwhile, quiet, the last look.
async fn round(
    cluster: &mut Cluster,
    plan: &Plan,
    recorder: &Recorder,
    (name, random, tally): (&str, &mut Random, &mut Tally),
) -> anyhow::Result<Vec<Disturbance>> {
    let frontends = cluster.frontends();
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|number| format!("{name}-{number}")).collect();
    let mut load = Vec::new();
    for account in &accounts {
        load.push(Round::start(&frontends, account, recorder, random.number(), TEMPO));
    }
    let mut disturbances = Vec::new();
    for _ in 0..random.within(FAULTS_A_ROUND) {
        sleep(random.millis(300..=1_200)).await;
        let Some(&fault) = random.pick(&plan.faults) else { continue };
        tally.struck(fault);
        let begun_us = recorder.now_us();
        tracing::info!(name, %fault, "strikes");
        cluster.strike(fault, random).await.with_context(|| fault.to_string())?;
        disturbances.push(Disturbance { what: fault.to_string(), begun_us, ended_us: recorder.now_us() });
    }
    sleep(random.millis(500..=1_500)).await;
    join_all(load.into_iter().map(Round::stop)).await;
    if let Err(error) = cluster.check_alive() {
        tally.problems.push(format!("{name}: {error:#}"));
    }
    cluster.wait_until_ready(READY_TIME_MAX).await?;
    let calm = accounts.iter().map(|account| wake_all(&frontends, account, recorder, random.number()));
    join_all(calm).await;
    for account in &accounts {
        last_look(&frontends, account, recorder).await?;
    }
    Ok(disturbances)
}
