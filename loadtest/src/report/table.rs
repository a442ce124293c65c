//! Markdown tables: one for each scenario, and one that puts peers side by side.

use crate::plan::{Scenario, Target, grouped};
use crate::report::{Report, Summary, on_database, or_dash, precise, warnings};
use std::fmt::Write as _;

/// All of it. Writing to a string can't fail, so the results of that are dropped.
pub fn write(report: &Report, summaries: &[Summary]) -> String {
    let mut text = report.headline() + "\n";
    for failure in &report.failures {
        let _ = writeln!(text, "\n**FAILED** {failure}");
    }
    for warning in warnings(summaries) {
        let _ = writeln!(text, "\n**Warning:** {warning}");
    }
    for scenario in scenarios(summaries) {
        let of = of_scenario(summaries, scenario);
        let _ = writeln!(text, "\n## {}\n", scenario.name());
        write_rows(&mut text, &of);
        write_figures(&mut text, &of);
    }
    write_store_sizes(&mut text, summaries);
    write_peers(&mut text, summaries);
    on_database::write(&mut text, summaries);
    write_promises(&mut text, report);
    text
}

/// The scenarios that there are, in the order in which they came.
pub fn scenarios(summaries: &[Summary]) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for summary in summaries {
        if !scenarios.contains(&summary.step.scenario) {
            scenarios.push(summary.step.scenario);
        }
    }
    scenarios
}

/// The summaries of a scenario.
pub fn of_scenario(summaries: &[Summary], scenario: Scenario) -> Vec<&Summary> {
    summaries.iter().filter(|summary| summary.step.scenario == scenario).collect()
}

/// The columns that every scenario has, and a summary's cells.
pub const COLUMNS: [&str; 18] = [
    "accounts × keys",
    "connections",
    "server",
    "units/s",
    "operations/s",
    "of echo",
    "MB/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
    "errors",
    "server CPU µs a unit",
    "× echo",
    "server MiB (most)",
    "client CPU µs a unit",
    "client cores",
];

/// How many columns from the left are words.
pub const COLUMNS_OF_WORDS: usize = 3;

/// The cells of a summary.
pub fn cells(summary: &Summary) -> [String; 18] {
    let ms = |us: f64| precise(us / 1e3);
    let Summary { step, latency, .. } = summary;
    let rate = |rate: f64| if step.scenario.is_at_once() { "–".to_owned() } else { grouped(rate) };
    let rss = summary.server_rss_mib.map(|mib| match summary.server_rss_peak_mib {
        Some(most) => format!("{mib:.0} ({most:.0})"),
        None => format!("{mib:.0}"),
    });
    [
        step.label(),
        grouped(step.parameters.connections as f64),
        step.target.name().to_owned(),
        rate(summary.units_per_s),
        rate(summary.operations_per_s),
        or_dash(summary.of_echo, |ratio| format!("{:.0} %", ratio * 100.0)),
        if summary.mb_per_s > 0.0 { precise(summary.mb_per_s) } else { "–".to_owned() },
        ms(latency.p50_us),
        ms(latency.p90_us),
        ms(latency.p99_us),
        ms(latency.p999_us),
        ms(latency.max_us),
        summary.errors.to_string(),
        or_dash(summary.server_cpu_us, precise),
        or_dash(summary.cpu_of_echo, |ratio| format!("{ratio:.2}")),
        rss.unwrap_or_else(|| "–".to_owned()),
        precise(summary.client_cpu_us),
        format!("{:.2}", summary.client_cores),
    ]
}

fn write_rows(text: &mut String, summaries: &[&Summary]) {
    if summaries.iter().all(|summary| summary.step.scenario == Scenario::IdleLongPolls) {
        return;
    }
    *text += "|";
    for column in COLUMNS {
        let _ = write!(text, " {column} |");
    }
    let _ = writeln!(
        text,
        "\n|{}{}",
        "---|".repeat(COLUMNS_OF_WORDS),
        "--:|".repeat(COLUMNS.len() - COLUMNS_OF_WORDS)
    );
    for summary in summaries {
        let _ = writeln!(text, "| {} |", cells(summary).join(" | "));
    }
    let rounds = summaries.iter().map(|summary| summary.rounds).max().unwrap_or_default();
    if rounds > 1 {
        let _ = writeln!(text, "\nMedians of up to {rounds} rounds; ratios to the echo within a round.");
    }
}

fn write_figures(text: &mut String, summaries: &[&Summary]) {
    let mut names: Vec<&str> = Vec::new();
    for figure in summaries.iter().flat_map(|summary| &summary.figures) {
        if !names.contains(&&*figure.name) {
            names.push(&figure.name);
        }
    }
    if names.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n| accounts × keys | connections | server | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|---|{}", "--:|".repeat(names.len()));
    for summary in summaries.iter().filter(|summary| !summary.figures.is_empty()) {
        let value = |name: &&str| {
            let figure = summary.figures.iter().find(|figure| figure.name == *name);
            or_dash(figure.map(|figure| figure.value), precise)
        };
        let (label, target) = (summary.step.label(), summary.step.target.name());
        let values: Vec<String> = names.iter().map(value).collect();
        let connections = grouped(summary.step.parameters.connections as f64);
        let _ = writeln!(text, "| {label} | {connections} | {target} | {} |", values.join(" | "));
    }
}

/// What a store that is full costs beside one that is not, in one sentence.
pub fn store_size_ratio(summaries: &[Summary]) -> Option<String> {
    let mut of = of_scenario(summaries, Scenario::StoreSize);
    let keys = |summary: &Summary| summary.step.parameters.accounts * summary.step.parameters.keys;
    of.sort_by_key(|summary| keys(summary));
    let (first, last) = (of.first()?, of.last()?);
    let (few, many) = (grouped(keys(first) as f64), grouped(keys(last) as f64));
    let percent = 100.0 * last.units_per_s / first.units_per_s;
    (few != many).then(|| format!("With {many} keys stored: {percent:.0} % of the writes/s with {few}."))
}

fn write_store_sizes(text: &mut String, summaries: &[Summary]) {
    if let Some(ratio) = store_size_ratio(summaries) {
        let _ = writeln!(text, "\n## Cost of a full store\n\n{ratio}");
    }
}

/// Summaries of Cloud Dragon that peers have too, each with theirs.
pub fn side_by_side(summaries: &[Summary]) -> Vec<(&Summary, Vec<&Summary>)> {
    let ours = summaries.iter().filter(|summary| summary.step.target == Target::CloudDragon);
    let with_theirs = ours.map(|ours| {
        let alike = |other: &&Summary| {
            matches!(other.step.target, Target::Peer(_))
                && other.step.scenario == ours.step.scenario
                && other.step.parameters == ours.step.parameters
        };
        (ours, summaries.iter().filter(alike).collect::<Vec<_>>())
    });
    with_theirs.filter(|(_, theirs)| !theirs.is_empty()).collect()
}

/// The figure by which a scenario is compared, and whether less of it is better.
pub fn compared(summary: &Summary) -> (f64, bool) {
    match summary.step.scenario {
        // From sending the write, as peers are measured: some answer it only when all are woken.
        Scenario::WatchOne | Scenario::WatchMany => {
            let named = |name: &str| summary.figures.iter().find(|figure| figure.name == name);
            let last = named("last wake, ms from sending the write").or_else(|| named("last wake, ms"));
            (last.map_or(summary.latency.max_us / 1e3, |last| last.value), true)
        }
        Scenario::Mixed => (summary.operations_per_s, false),
        _ => (summary.units_per_s, false),
    }
}

fn write_peers(text: &mut String, summaries: &[Summary]) {
    let pairs = side_by_side(summaries);
    if pairs.is_empty() {
        return;
    }
    let mut peers: Vec<Target> = Vec::new();
    for theirs in pairs.iter().flat_map(|(_, theirs)| theirs) {
        if !peers.contains(&theirs.step.target) {
            peers.push(theirs.step.target);
        }
    }
    *text += "\n## Peers\n\nUnits of work/s (of mixed requests, operations/s; of watches, ms from sending the write to the last wake), and how many times better Cloud Dragon is.\n\n";
    let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
    let _ =
        writeln!(text, "| scenario | accounts × keys | connections | Cloud Dragon | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|--:|--:|{}", "--:|".repeat(peers.len()));
    for (ours, theirs) in pairs {
        let (figure, less_is_better) = compared(ours);
        let cell = |peer: &Target| {
            let Some(their) = theirs.iter().find(|their| their.step.target == *peer) else {
                return "–".to_owned();
            };
            let their = compared(their).0;
            let times = if less_is_better { their / figure } else { figure / their };
            format!("{} (× {times:.2})", precise(their))
        };
        let cells: Vec<String> = peers.iter().map(cell).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            ours.step.scenario.name(),
            ours.step.label(),
            grouped(ours.step.parameters.connections as f64),
            precise(figure),
            cells.join(" | ")
        );
    }
}

fn write_promises(text: &mut String, report: &Report) {
    if report.promises.is_empty() {
        return;
    }
    *text += "\n## What each promises\n\n| server | durability | transactions | differences |\n|---|---|---|---|\n";
    for promise in report.all_promises() {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            promise.name, promise.durability, promise.transactions, promise.differences
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Parameters, Step};
    use crate::report::tests::{report, row};

    #[test]
    fn rows_have_their_ratios() {
        let text = report().markdown();
        assert!(text.contains("| 1 × 1, 64 B | 64 | Poem echo | 2,000 | 2,000 | – |"), "{text}");
        assert!(text.contains("| 1 × 1, 64 B | 64 | Cloud Dragon | 1,000 | 1,000 | 50 % |"), "{text}");
        assert!(text.contains("| 40.0 | 2.00 |"), "{text}");
        assert!(text.contains("| kv-write | 1 × 1, 64 B | 64 | 1000 | 500 (× 2.00) |"), "{text}");
    }

    #[test]
    fn failures_are_told_first() {
        let mut report = report();
        report.failures.push("cas: lost".to_owned());
        assert!(report.markdown().lines().nth(2).unwrap().starts_with("**FAILED** cas: lost"));
    }

    #[test]
    fn a_full_store_is_compared() {
        let mut rows = Vec::new();
        for (keys, units) in [(1_000, 1000), (1_000_000, 900)] {
            let mut row = row(Scenario::StoreSize, Target::CloudDragon, 0, units, None);
            let parameters = Parameters { keys, ..Parameters::default() };
            row.step = Step::new(Scenario::StoreSize, parameters, 0);
            rows.push(row);
        }
        let summaries = crate::report::summary::summaries(&rows);
        let expected = "With 1,000,000 keys stored: 90 % of the writes/s with 1,000.";
        assert_eq!(store_size_ratio(&summaries).unwrap(), expected);
    }
}
