//! What a run came to: rows as they were measured, summaries of the rows that are alike, and from these the
//! tables, the JSON and the page.

mod html;
mod json;
mod on_database;
mod plot;
mod summary;
mod table;

pub use summary::Summary;

use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::peers::Promise;
use crate::plan::{OnDatabase, Scenario, Step, Target, grouped};

/// From this much of a core on, the client may be what limits a step.
const CLIENT_BUSY: f64 = 0.9;

/// One step, done.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was asked.
    pub step: Step,
    /// What it came to.
    pub outcome: Outcome,
}

impl Row {
    /// Units a second.
    #[must_use]
    pub fn units_per_s(&self) -> f64 {
        let measured = &self.outcome.measured;
        measured.units as f64 / measured.wall.as_secs_f64().max(1e-9)
    }

    /// For the progress line.
    #[must_use]
    pub fn brief(&self) -> String {
        let first =
            self.outcome.figures.first().map(|figure| format!("{}: {}", figure.name, precise(figure.value)));
        match (self.step.scenario, first) {
            (Scenario::WatchOne | Scenario::WatchMany, _) => {
                let last = self.outcome.figures.iter().find(|figure| figure.name == "last wake, ms");
                last.map_or_else(String::new, |last| format!("last wake after {} ms", precise(last.value)))
            }
            (Scenario::IdleLongPolls, Some(first)) => first,
            _ => format!("{}/s", grouped(self.units_per_s())),
        }
    }
}

/// One run.
#[derive(Debug)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// The words of the command line, after the program.
    pub command: Vec<String>,
    /// How long all of it took.
    pub took_s: f64,
    /// Every step, in the order in which they were done.
    pub rows: Vec<Row>,
    /// What the peers that took part promise.
    pub promises: Vec<Promise>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Report {
    /// One with nothing in it yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            machine: Machine::this(),
            command: std::env::args().skip(1).collect(),
            took_s: 0.0,
            rows: Vec::new(),
            promises: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// All of it as tables.
    #[must_use]
    pub fn markdown(&self) -> String {
        table::write(self, &summary::summaries(&self.rows))
    }

    /// All of it as one page with plots, which needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        html::write(self, &summary::summaries(&self.rows))
    }

    /// All of it for other programs.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn json(&self) -> serde_json::Result<Vec<u8>> {
        json::write(self, &summary::summaries(&self.rows))
    }

    /// One sentence on the machine and the run.
    fn headline(&self) -> String {
        let Machine { cores, processor, kernel } = &self.machine;
        format!(
            "{cores} cores of {processor}, Linux {kernel}; clients and servers share them. The run took {:.0} s.",
            self.took_s
        )
    }

    /// The promises of all that took part.
    fn all_promises(&self) -> Vec<Promise> {
        let promise = |name: &str, durability: &str, transactions: &str, differences: &str| Promise {
            name: name.to_owned(),
            durability: durability.to_owned(),
            transactions: transactions.to_owned(),
            differences: differences.to_owned(),
        };
        let mut all = vec![promise(
            Target::CloudDragon.name(),
            "An answer comes after its changes are synced to disk; reads and refusals wait for the sync of all that they saw.",
            "A request with all its keys, counters, locks and ids happens at one moment in its account's order, or not at all.",
            "",
        )];
        if self.rows.iter().any(|row| row.step.target == Target::Echo) {
            let nothing = "Nothing is stored.";
            all.push(promise(
                Target::Echo.name(),
                nothing,
                "None.",
                "Sends the body back: what HTTP itself costs.",
            ));
        }
        for on in [OnDatabase::OneByOne, OnDatabase::OneFrontend, OnDatabase::TwoFrontends] {
            if self.rows.iter().any(|row| row.step.target == Target::OnDatabase(on)) {
                let differences = match on {
                    OnDatabase::OneByOne => "Each request is a transaction of its own.",
                    OnDatabase::OneFrontend | OnDatabase::TwoFrontends => "",
                };
                all.push(promise(
                    Target::OnDatabase(on).name(),
                    "As Cloud Dragon; what is synced is the database's log (on Postgres, fsync and synchronous_commit are on).",
                    "As Cloud Dragon.",
                    differences,
                ));
            }
        }
        all.extend(self.promises.iter().cloned());
        all
    }
}

/// What a reader should know before trusting the figures.
fn warnings(summaries: &[Summary]) -> Vec<String> {
    let name = |summary: &Summary| {
        let (scenario, target) = (summary.step.scenario.name(), summary.step.target.name());
        let connections = summary.step.parameters.connections;
        format!("{scenario} on {target} ({}, {connections} connections)", summary.step.label())
    };
    let mut warnings = Vec::new();
    let busy: Vec<String> = summaries
        .iter()
        .filter(|summary| summary.client_cores >= CLIENT_BUSY)
        .map(|summary| format!("{}: {:.2} cores", name(summary), summary.client_cores))
        .collect();
    if !busy.is_empty() {
        warnings.push(format!(
            "The client used {CLIENT_BUSY} of a core or more, so it may be what limits these: {}.",
            busy.join("; ")
        ));
    }
    for summary in summaries.iter().filter(|summary| summary.backlog_left > 0) {
        warnings.push(format!(
            "{}: {} arrivals were never begun; the rate was more than was possible.",
            name(summary),
            summary.backlog_left
        ));
    }
    warnings
}

/// Three digits that matter.
fn precise(figure: f64) -> String {
    let decimals = match figure.abs() {
        0.0 => return "0".to_owned(),
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        size if size < 10_000.0 => 0,
        _ => return grouped(figure),
    };
    format!("{figure:.decimals$}")
}

/// What is not known is a dash.
fn or_dash(figure: Option<f64>, show: impl Fn(f64) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), show)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::drive::Measured;
    use crate::plan::{Parameters, Peer};
    use std::time::Duration;

    /// A row of so many units in a second, of which each took the server so long.
    pub fn row(scenario: Scenario, target: Target, block: usize, units: u64, cpu_us: Option<u32>) -> Row {
        let step = Step { target, ..Step::new(scenario, Parameters::default(), block) };
        let server_cpu = cpu_us.map(|us| Duration::from_micros(us.into()) * u32::try_from(units).unwrap());
        let measured = Measured {
            units,
            operations: units,
            bytes: units * 100,
            wall: Duration::from_secs(1),
            server_cpu,
            client_cpu: Duration::from_millis(500),
            latency: (1..=100).map(Duration::from_micros).collect(),
            ..Measured::default()
        };
        Row { step, outcome: Outcome::of(measured) }
    }

    /// A report with the server, the echo and a peer.
    pub fn report() -> Report {
        let mut report = Report::new();
        for (block, factor) in [(0, 1), (1, 3), (2, 2)] {
            let cpu = u32::try_from(factor).ok();
            report.rows.push(row(
                Scenario::Echo,
                Target::Echo,
                block,
                1000 * factor,
                cpu.map(|cpu| cpu * 10),
            ));
            let ours =
                row(Scenario::KvWrite, Target::CloudDragon, block, 500 * factor, cpu.map(|cpu| cpu * 20));
            report.rows.push(ours);
            let peer = Target::Peer(Peer::Redis);
            report.rows.push(row(Scenario::KvWrite, peer, block, 250 * factor, None));
        }
        report
    }

    #[test]
    fn figures_have_three_digits() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 12_345.6].map(precise);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "12,346"]);
    }

    #[test]
    fn a_busy_client_is_told() {
        let mut report = report();
        assert_eq!(warnings(&summary::summaries(&report.rows)), [""; 0]);
        for row in &mut report.rows {
            row.outcome.measured.client_cpu = Duration::from_millis(950);
        }
        let warnings = warnings(&summary::summaries(&report.rows));
        assert!(
            warnings[0].contains("kv-write on Redis (1 × 1, 64 B, 64 connections): 0.95 cores"),
            "{warnings:?}"
        );
    }
}
