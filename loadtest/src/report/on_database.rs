//! The servers on a database side by side: what a frontend is worth beside a transaction for each request, and
//! two frontends beside one.

use crate::plan::{OnDatabase, Target, grouped};
use crate::report::{Summary, precise};
use clap::ValueEnum as _;
use std::fmt::Write as _;

/// A summary for each of [`OnDatabase`], in its order, where there is one.
type Trio<'a> = Vec<Option<&'a Summary>>;

/// The steps of a block were asked to be compared.
fn trios(summaries: &[Summary]) -> Vec<Trio<'_>> {
    let on_database = |summary: &&Summary| matches!(summary.step.target, Target::OnDatabase(_));
    let alike = |one: &Summary, other: &Summary| {
        let shape = |summary: &Summary| {
            let parameters = &summary.step.parameters;
            (summary.step.block, summary.step.scenario, parameters.accounts, parameters.keys)
        };
        // Of steps asked for by lists, several may be in one block.
        let is_twice = one.step.target == other.step.target;
        shape(one) == shape(other) && !is_twice
    };
    let mut trios: Vec<Vec<&Summary>> = Vec::new();
    for summary in summaries.iter().filter(on_database) {
        match trios.last_mut().filter(|trio| trio.iter().all(|other| alike(other, summary))) {
            Some(trio) => trio.push(summary),
            None => trios.push(vec![summary]),
        }
    }
    trios.iter().filter(|trio| trio.len() > 1).map(|trio| ordered(trio)).collect()
}

fn ordered<'a>(trio: &[&'a Summary]) -> Trio<'a> {
    let of =
        |on: &OnDatabase| trio.iter().copied().find(|summary| summary.step.target == Target::OnDatabase(*on));
    OnDatabase::value_variants().iter().map(of).collect()
}

/// The figures of a trio, and what each of the frontends' is beside the one before it.
fn cells(trio: &Trio<'_>, figure: impl Fn(&Summary) -> f64, show: impl Fn(f64) -> String) -> String {
    let figures: Vec<Option<f64>> = trio.iter().map(|summary| summary.map(&figure)).collect();
    let mut cells = Vec::with_capacity(figures.len());
    for (at, own) in figures.iter().enumerate() {
        let before = if at > 0 { figures[at - 1] } else { None };
        cells.push(match (own, before) {
            (None, _) => "–".to_owned(),
            (Some(own), Some(before)) if before > 0.0 => format!("{} (× {:.2})", show(*own), own / before),
            (Some(own), _) => show(*own),
        });
    }
    cells.join(" | ")
}

/// The table, where there is something to compare.
pub fn write(text: &mut String, summaries: &[Summary]) {
    let trios = trios(summaries);
    if trios.is_empty() {
        return;
    }
    *text += "\n## On a database\n\nOne by one: a transaction for each request. In brackets: one frontend beside one by one, and two frontends beside one. Of watches, the latencies count from the write's answer to each watcher's.\n\n";
    let figures = ["units/s", "p50 ms", "p99 ms"];
    let servers = ["one by one", "1 frontend", "2 frontends"];
    let names: Vec<String> = figures
        .iter()
        .flat_map(|figure| servers.iter().map(move |server| format!("{figure}, {server}")))
        .collect();
    let _ = writeln!(text, "| scenario | accounts × keys | connections | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|--:|{}", "--:|".repeat(names.len()));
    for trio in &trios {
        let Some(first) = trio.iter().flatten().next() else { continue };
        let mut connections: Vec<String> = Vec::new();
        for summary in trio.iter().flatten() {
            let own = grouped(summary.step.parameters.connections as f64);
            if !connections.contains(&own) {
                connections.push(own);
            }
        }
        let rates = if first.step.scenario.is_at_once() {
            "– | – | –".to_owned()
        } else {
            cells(trio, |summary| summary.units_per_s, grouped)
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {rates} | {} | {} |",
            first.step.scenario.name(),
            first.step.label(),
            connections.join(", "),
            cells(trio, |summary| summary.latency.p50_us / 1e3, precise),
            cells(trio, |summary| summary.latency.p99_us / 1e3, precise),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Scenario;
    use crate::report::summary::summaries;
    use crate::report::tests::row;

    #[test]
    fn each_is_beside_the_one_before() {
        let of = |on, block, units| row(Scenario::KvWrite, Target::OnDatabase(on), block, units, None);
        let rows = [
            of(OnDatabase::OneByOne, 0, 500),
            of(OnDatabase::OneFrontend, 0, 5_000),
            of(OnDatabase::TwoFrontends, 0, 4_000),
        ];
        let mut text = String::new();
        write(&mut text, &summaries(&rows));
        assert!(
            text.contains("| 500 | 5,000 (× 10.00) | 4,000 (× 0.80) | 0.050 | 0.050 (× 1.00) |"),
            "{text}"
        );
        let mut none = String::new();
        write(&mut none, &summaries(&rows[..1]));
        assert_eq!(none, "");
    }
}
