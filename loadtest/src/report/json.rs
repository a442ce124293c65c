//! Everything that was measured, for other programs: the summaries with their distributions, and each row.

use crate::machine::Machine;
use crate::outcome::Figure;
use crate::peers::Promise;
use crate::plan::{Parameters, Scenario, Target};
use crate::report::{Report, Summary, warnings};
use serde::Serialize;

#[derive(Serialize)]
struct Whole<'a> {
    machine: &'a Machine,
    command: &'a [String],
    took_s: f64,
    failures: &'a [String],
    warnings: Vec<String>,
    promises: Vec<Promise>,
    summaries: Vec<Named<&'a Summary>>,
    rows: Vec<Named<Single<'a>>>,
}

#[derive(Serialize)]
struct Named<T> {
    scenario: Scenario,
    target: Target,
    parameters: Parameters,
    #[serde(flatten)]
    rest: T,
}

/// A row, with what varies from round to round.
#[derive(Serialize)]
struct Single<'a> {
    block: usize,
    units: u64,
    wall_s: f64,
    units_per_s: f64,
    server_cpu_s: Option<f64>,
    client_cpu_s: f64,
    #[serde(flatten)]
    latency: crate::latency::Percentiles,
    figures: &'a [Figure],
}

/// As JSON.
pub fn write(report: &Report, summaries: &[Summary]) -> serde_json::Result<Vec<u8>> {
    let named = summaries.iter().map(|summary| Named {
        scenario: summary.step.scenario,
        target: summary.step.target,
        parameters: summary.step.parameters.clone(),
        rest: summary,
    });
    let rows = report.rows.iter().map(|row| Named {
        scenario: row.step.scenario,
        target: row.step.target,
        parameters: row.step.parameters.clone(),
        rest: Single {
            block: row.step.block,
            units: row.outcome.measured.units,
            wall_s: row.outcome.measured.wall.as_secs_f64(),
            units_per_s: row.units_per_s(),
            server_cpu_s: row.outcome.measured.server_cpu.map(|cpu| cpu.as_secs_f64()),
            client_cpu_s: row.outcome.measured.client_cpu.as_secs_f64(),
            latency: row.outcome.measured.latency.percentiles(),
            figures: &row.outcome.figures,
        },
    });
    serde_json::to_vec_pretty(&Whole {
        machine: &report.machine,
        command: &report.command,
        took_s: report.took_s,
        failures: &report.failures,
        warnings: warnings(summaries),
        promises: report.all_promises(),
        summaries: named.collect(),
        rows: rows.collect(),
    })
}

#[cfg(test)]
mod tests {
    use crate::report::tests::report;
    use serde_json::Value;

    #[test]
    fn everything_is_there() {
        let whole: Value = serde_json::from_slice(&report().json().unwrap()).unwrap();
        assert_eq!(whole["summaries"].as_array().unwrap().len(), 3);
        assert_eq!(whole["rows"].as_array().unwrap().len(), 9);
        let ours = &whole["summaries"][1];
        assert_eq!((&ours["scenario"], &ours["target"]), (&"kv-write".into(), &"cloud-dragon".into()));
        assert_eq!((&ours["of_echo"], &ours["parameters"]["length"]), (&0.5.into(), &"3 s".into()));
        assert_eq!(whole["summaries"][2]["target"], "redis");
    }
}
