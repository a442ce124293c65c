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
const TEMPO: Tempo = Tempo { per_second: 70, requests_max: 1_500 };

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

/// Runs a campaign. What is found is in the tally; so is a fault that could not be struck or healed, which ends it.
///
/// # Errors
/// When the cluster can't be started, or a file can't be written: then there is no verdict.
pub async fn run(plan: &Plan) -> anyhow::Result<Tally> {
    let begun = Instant::now();
    let mut cluster = Cluster::start(&plan.settings).await?;
    cluster.wait_until_ready(READY_TIME_MAX).await?;
    let mut campaign = Campaign {
        plan,
        cluster,
        random: Random::new(plan.settings.seed),
        deck: Vec::new(),
        tally: Tally::new(&plan.name, &plan.faults),
    };
    let (ready, mut goes_on) = (Instant::now(), true);
    while goes_on && ready.elapsed() < plan.duration {
        let name = format!("{}-{}-{}", plain(&plan.name), plan.settings.seed, campaign.tally.rounds + 1);
        let recorder = Recorder::start();
        let mut disturbances = Vec::new();
        if let Err(error) = campaign.round(&name, &recorder, &mut disturbances).await {
            campaign.tally.problems.push(format!("{name} could not go on: {error:#}"));
            goes_on = false;
        }
        campaign.judge(&name, &recorder, disturbances, begun.elapsed()).await?;
        goes_on &= campaign.tally.problems.is_empty() || !plan.until_problem;
    }
    Ok(campaign.tally)
}

struct Campaign<'a> {
    plan: &'a Plan,
    cluster: Cluster,
    random: Random,
    /// What is still to be struck until every fault has been once more.
    deck: Vec<Fault>,
    tally: Tally,
}

impl Campaign<'_> {
    /// The next fault: each comes once before any comes again.
    fn deal(&mut self) -> Option<Fault> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.plan.faults);
        }
        let at = self.random.below(self.deck.len());
        (!self.deck.is_empty()).then(|| self.deck.swap_remove(at))
    }

    /// Some accounts' life: load, faults meanwhile, quiet, the last look.
    async fn round(
        &mut self,
        name: &str,
        recorder: &Recorder,
        disturbances: &mut Vec<Disturbance>,
    ) -> anyhow::Result<()> {
        let frontends = self.cluster.frontends();
        let accounts: Vec<String> = (1..=ACCOUNTS).map(|number| format!("{name}-{number}")).collect();
        let mut load = Vec::new();
        for account in &accounts {
            load.push(Round::start(&frontends, account, recorder, self.random.number(), TEMPO));
        }
        for _ in 0..self.random.within(FAULTS_A_ROUND) {
            sleep(self.random.millis(300..=1_200)).await;
            // A fault without load would show nothing.
            if load.iter().all(Round::is_spent) {
                break;
            }
            let Some(fault) = self.deal() else { break };
            self.strike(name, fault, recorder, disturbances).await?;
        }
        sleep(self.random.millis(500..=1_500)).await;
        join_all(load.into_iter().map(Round::stop)).await;
        self.cluster.check_alive()?;
        self.cluster.wait_until_ready(READY_TIME_MAX).await?;
        let calm =
            accounts.iter().map(|account| wake_all(&frontends, account, recorder, self.random.number()));
        join_all(calm).await;
        for account in &accounts {
            last_look(&frontends, account, recorder).await?;
        }
        Ok(())
    }

    async fn strike(
        &mut self,
        name: &str,
        fault: Fault,
        recorder: &Recorder,
        disturbances: &mut Vec<Disturbance>,
    ) -> anyhow::Result<()> {
        self.tally.struck(fault);
        let begun_us = recorder.now_us();
        tracing::info!(name, %fault, "strikes");
        let struck = self.cluster.strike(fault, &mut self.random).await;
        disturbances.push(Disturbance { what: fault.to_string(), begun_us, ended_us: recorder.now_us() });
        struck.with_context(|| fault.to_string())
    }

    /// Has the round's history checked, whatever became of the round.
    async fn judge(
        &mut self,
        name: &str,
        recorder: &Recorder,
        disturbances: Vec<Disturbance>,
        age: Duration,
    ) -> anyhow::Result<()> {
        let Settings { store, clocks, folder, .. } = self.plan.settings.clone();
        let history = History {
            clock: clock::bounds(recorder.machine_clock(), store, clocks, age),
            disturbances,
            ended_us: recorder.now_us(),
            operations: recorder.finish(),
        };
        self.tally.totals.add(&Totals::of(&history.operations));
        let own = name.to_owned();
        let (report, kept) = tokio::task::spawn_blocking(move || judge(&history, &folder, &own)).await??;
        self.tally.take_in(name, &report, kept.as_deref());
        let broken = recorder.broken_promises().into_iter();
        self.tally.problems.extend(broken.map(|text| format!("{name}: {text}")));
        self.tally.rounds += 1;
        Ok(())
    }
}

/// A campaign's name as a part of accounts' and files' names.
fn plain(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}
