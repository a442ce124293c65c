//! Rows that are alike but for their block, as one: medians over them, and ratios to the echo within a block.

use crate::latency::{CurvePoint, Latencies, Percentiles, median};
use crate::outcome::{Figure, Series};
use crate::plan::{Scenario, Step, Target};
use crate::report::Row;
use serde::Serialize;

/// Rows that are alike.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was asked, as in the first of them.
    #[serde(skip)]
    pub step: Step,
    /// How many there are.
    pub rounds: usize,
    /// Units in all of them.
    pub units: u64,
    /// Units a second: requests, pairs, wakes…
    pub units_per_s: f64,
    /// Operations a second.
    pub operations_per_s: f64,
    /// Payload either way, in MB (of 1,000,000 bytes) a second.
    pub mb_per_s: f64,
    /// Units that failed.
    pub errors: u64,
    /// Of an open loop: arrivals that waited to begin, at most.
    pub backlog_max: u64,
    /// Of an open loop: arrivals that never began.
    pub backlog_left: u64,
    /// Latencies: medians of each round's percentiles.
    #[serde(flatten)]
    pub latency: Percentiles,
    /// CPU time of the server a unit.
    pub server_cpu_us: Option<f64>,
    /// The server's memory at the end.
    pub server_rss_mib: Option<f64>,
    /// The most that it was.
    pub server_rss_peak_mib: Option<f64>,
    /// CPU time of the client a unit.
    pub client_cpu_us: f64,
    /// How much of a core the client used.
    pub client_cores: f64,
    /// Units a second beside the echo's.
    pub of_echo: Option<f64>,
    /// CPU time of the server a unit, beside the echo's.
    pub cpu_of_echo: Option<f64>,
    /// What only this scenario tells.
    pub figures: Vec<Figure>,
    /// The distribution of all latencies.
    pub curve: Vec<CurvePoint>,
    /// What changed over time, in the last round.
    pub series: Vec<Series>,
}

/// The summaries of rows, in the order in which each first came.
#[must_use]
pub fn summaries(rows: &[Row]) -> Vec<Summary> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| is_alike(&group[0].step, &row.step)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.iter().map(|group| summarize(group, rows)).collect()
}

fn is_alike(one: &Step, other: &Step) -> bool {
    (one.scenario, one.target, &one.parameters) == (other.scenario, other.target, &other.parameters)
}

fn summarize(group: &[&Row], rows: &[Row]) -> Summary {
    let of = |figure: &dyn Fn(&Row) -> f64| median(group.iter().map(|row| figure(row)).collect());
    let known = |figure: &dyn Fn(&Row) -> Option<f64>| {
        let figures: Vec<f64> = group.iter().filter_map(|row| figure(row)).collect();
        (!figures.is_empty()).then(|| median(figures))
    };
    let per_s = |row: &Row, count: f64| count / row.outcome.measured.wall.as_secs_f64().max(1e-9);
    let sum = |count: fn(&Row) -> u64| group.iter().map(|row| count(row)).sum();
    let percentiles: Vec<Percentiles> =
        group.iter().map(|row| row.outcome.measured.latency.percentiles()).collect();
    let percentile = |of: fn(&Percentiles) -> f64| median(percentiles.iter().map(of).collect());
    let mut all = Latencies::default();
    group.iter().for_each(|row| all.add(&row.outcome.measured.latency));
    let mib = |kib: Option<u64>| kib.map(|kib| kib as f64 / 1024.0);
    Summary {
        step: group[0].step.clone(),
        rounds: group.len(),
        units: sum(|row| row.outcome.measured.units),
        units_per_s: of(&Row::units_per_s),
        operations_per_s: of(&|row| per_s(row, row.outcome.measured.operations as f64)),
        mb_per_s: of(&|row| per_s(row, row.outcome.measured.bytes as f64) / 1e6),
        errors: sum(|row| row.outcome.measured.errors),
        backlog_max: group.iter().map(|row| row.outcome.measured.backlog_max).max().unwrap_or_default(),
        backlog_left: sum(|row| row.outcome.measured.backlog_left),
        latency: Percentiles {
            p50_us: percentile(|of| of.p50_us),
            p90_us: percentile(|of| of.p90_us),
            p99_us: percentile(|of| of.p99_us),
            p999_us: percentile(|of| of.p999_us),
            max_us: percentile(|of| of.max_us),
        },
        server_cpu_us: known(&server_cpu_us),
        server_rss_mib: known(&|row| mib(row.outcome.measured.server_rss_kib)),
        server_rss_peak_mib: known(&|row| mib(row.outcome.measured.server_rss_peak_kib)),
        client_cpu_us: of(&|row| {
            row.outcome.measured.client_cpu.as_secs_f64() * 1e6 / row.outcome.measured.units.max(1) as f64
        }),
        client_cores: of(&|row| per_s(row, row.outcome.measured.client_cpu.as_secs_f64())),
        of_echo: known(&|row| Some(row.units_per_s() / echo_of(row, rows)?.units_per_s())),
        cpu_of_echo: known(&|row| Some(server_cpu_us(row)? / server_cpu_us(echo_of(row, rows)?)?)),
        figures: figures(group),
        curve: all.curve(),
        series: group.last().map(|row| row.outcome.series.clone()).unwrap_or_default(),
    }
}

fn server_cpu_us(row: &Row) -> Option<f64> {
    let measured = &row.outcome.measured;
    Some(measured.server_cpu?.as_secs_f64() * 1e6 / measured.units.max(1) as f64)
}

/// The echo of the same requests in the same block, of those that are single requests like the echo's.
fn echo_of<'a>(row: &Row, rows: &'a [Row]) -> Option<&'a Row> {
    if !matches!(row.step.scenario, Scenario::KvWrite | Scenario::Counter) {
        return None;
    }
    let like = |step: &Step| {
        let parameters = &step.parameters;
        (step.block, parameters.connections, parameters.value_bytes, parameters.rtt, parameters.pace)
    };
    rows.iter().find(|echo| echo.step.target == Target::Echo && like(&echo.step) == like(&row.step))
}

fn figures(group: &[&Row]) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for name in group.iter().flat_map(|row| &row.outcome.figures).map(|figure| &figure.name) {
        if figures.iter().any(|figure| figure.name == *name) {
            continue;
        }
        let named = group.iter().flat_map(|row| &row.outcome.figures).filter(|figure| figure.name == *name);
        let value = median(named.map(|figure| figure.value).collect());
        figures.push(Figure { name: name.clone(), value });
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn ratios_are_within_a_block() {
        let summaries = summaries(&report().rows);
        assert_eq!(summaries.len(), 3);
        let [echo, ours, peer] = &summaries[..] else { panic!("{summaries:?}") };
        assert_eq!((echo.units_per_s, echo.of_echo), (2000.0, None));
        assert_eq!((ours.units_per_s, ours.of_echo, ours.cpu_of_echo), (1000.0, Some(0.5), Some(2.0)));
        assert_eq!((ours.rounds, ours.units, ours.server_cpu_us), (3, 3000, Some(40.0)));
        assert_eq!((peer.server_cpu_us, peer.cpu_of_echo), (None, None));
        assert!(ours.curve.len() > 10);
    }
}
