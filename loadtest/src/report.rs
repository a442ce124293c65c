//! What was measured, as markdown tables and as JSON.

use crate::latency::median;
use crate::machine::Machine;
use crate::scenarios::idle::Idle;
use crate::scenarios::lock_crowd::LockCrowd;
use crate::scenarios::lock_pairs::LockPairs;
use crate::scenarios::watch_wake::WatchWake;
use crate::scenarios::writes::{Cell, Load};
use serde::Serialize;
use std::fmt::Write as _;

/// From this much of a core on, the client may be what limits a cell.
const CLIENT_BUSY: f64 = 0.9;

/// One run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// How long all of it took.
    pub took_s: f64,
    /// Writes and echo, every cell of every round.
    pub writes: Vec<Cell>,
    /// `watch-wake`.
    pub watch_wake: Option<WatchWake>,
    /// `lock-pairs`, every round.
    pub lock_pairs: Vec<LockPairs>,
    /// `idle-long-polls`.
    pub idle: Vec<Idle>,
    /// `lock-crowd`.
    pub lock_crowd: Option<LockCrowd>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Report {
    /// One with nothing in it yet.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            took_s: 0.0,
            writes: Vec::new(),
            watch_wake: None,
            lock_pairs: Vec::new(),
            idle: Vec::new(),
            lock_crowd: None,
            failures: Vec::new(),
        }
    }

    /// All of it as tables.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let Machine { cores, processor, kernel } = &self.machine;
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{cores} cores of {processor}, Linux {kernel}; server and client share them. \
             The run took {:.0} s.",
            self.took_s
        );
        self.write_writes(&mut text);
        self.write_watch_wake(&mut text);
        self.write_lock_pairs(&mut text);
        self.write_idle(&mut text);
        self.write_lock_crowd(&mut text);
        for failure in &self.failures {
            let _ = writeln!(text, "\n**FAILED** {failure}");
        }
        text
    }

    fn write_writes(&self, text: &mut String) {
        let mut shown: Vec<(usize, Load)> = Vec::new();
        for cell in &self.writes {
            if !shown.contains(&(cell.connections, cell.load)) {
                shown.push((cell.connections, cell.load));
            }
        }
        if shown.is_empty() {
            return;
        }
        *text += "\n## Writes\n\n| scenario | connections | requests/s | of echo | server CPU µs | × echo \
                  | p50 ms | p99 ms | p99.9 ms | max ms | client CPU µs | client cores |\n\
                  |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for &(connections, load) in &shown {
            let of = |figure: fn(&Cell) -> f64| self.median_of(connections, load, figure);
            let ms = |us: f64| precise(us / 1e3);
            let _ = writeln!(
                text,
                "| {} | {connections} | {:.0} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.2} |",
                load.name(),
                of(|cell| cell.requests_per_s),
                self.ratio(connections, load, |cell| Some(cell.requests_per_s))
                    .map_or("–".into(), |ratio| format!("{:.0} %", ratio * 100.0)),
                or_dash(self.optional_median_of(connections, load, |cell| cell.server_cpu_us)),
                self.ratio(connections, load, |cell| cell.server_cpu_us)
                    .map_or("–".into(), |ratio| format!("{ratio:.2}")),
                ms(of(|cell| cell.latency.p50_us)),
                ms(of(|cell| cell.latency.p99_us)),
                ms(of(|cell| cell.latency.p999_us)),
                ms(of(|cell| cell.latency.max_us)),
                of(|cell| cell.client_cpu_us),
                of(|cell| cell.client_cores),
            );
        }
        let rounds = self.writes.iter().map(|cell| cell.round + 1).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "\nMedians of {rounds} rounds in which the scenarios take turns; ratios to the echo within a round."
        );
        if shown.iter().any(|&(connections, load)| {
            self.median_of(connections, load, |cell| cell.client_cores) > CLIENT_BUSY
        }) {
            *text += "\nWhere the client uses about a whole core, it is the client that limits the rate.\n";
        }
    }

    fn cells(&self, connections: usize, load: Load) -> impl Iterator<Item = &Cell> {
        self.writes.iter().filter(move |cell| (cell.connections, cell.load) == (connections, load))
    }

    fn median_of(&self, connections: usize, load: Load, figure: fn(&Cell) -> f64) -> f64 {
        median(self.cells(connections, load).map(figure).collect())
    }

    fn optional_median_of(
        &self,
        connections: usize,
        load: Load,
        figure: fn(&Cell) -> Option<f64>,
    ) -> Option<f64> {
        let figures: Vec<f64> = self.cells(connections, load).filter_map(figure).collect();
        (!figures.is_empty()).then(|| median(figures))
    }

    /// The median, over the rounds, of a figure beside the echo's in the same round.
    fn ratio(&self, connections: usize, load: Load, figure: fn(&Cell) -> Option<f64>) -> Option<f64> {
        let ratio = |cell: &Cell| {
            let echo = self.cells(connections, Load::Echo).find(|echo| echo.round == cell.round)?;
            Some(figure(cell)? / figure(echo)?)
        };
        let ratios: Vec<f64> = self.cells(connections, load).filter_map(ratio).collect();
        (load != Load::Echo && !ratios.is_empty()).then(|| median(ratios))
    }

    fn write_watch_wake(&self, text: &mut String) {
        let Some(wake) = &self.watch_wake else { return };
        let (watchers, rounds) = (wake.watchers, wake.rounds.len());
        let _ = writeln!(
            text,
            "\n## Waking {watchers} watchers of one key\n\n\
             | ms from sending the write | median of {rounds} | best | worst |\n|---|--:|--:|--:|"
        );
        let mut row = |name: &str, of: fn(&crate::scenarios::watch_wake::Round) -> f64| {
            let figures = || wake.rounds.iter().map(of);
            let (best, worst) = (figures().fold(f64::MAX, f64::min), figures().fold(0.0, f64::max));
            let _ = writeln!(text, "| {name} | {:.1} | {best:.1} | {worst:.1} |", wake.median(of));
        };
        row("the write is answered", |round| round.written_ms);
        row("the first watcher is answered", |round| round.first_ms);
        row("half of them are", |round| round.half_ms);
        row("all of them are", |round| round.last_ms);
        row("all of them, from the write's answer", |round| round.last_after_answer_ms);
        if wake.rounds.iter().all(|round| round.server_cpu_ms.is_some()) {
            row("CPU time of the server", |round| round.server_cpu_ms.unwrap_or_default());
        }
        row("CPU time of the client", |round| round.client_cpu_ms);
    }

    fn write_lock_pairs(&self, text: &mut String) {
        let Some(first) = self.lock_pairs.first() else { return };
        let of =
            |figure: fn(&LockPairs) -> f64| median(self.lock_pairs.iter().map(figure).collect::<Vec<_>>());
        let some = |figure: fn(&LockPairs) -> Option<f64>| {
            let figures: Vec<f64> = self.lock_pairs.iter().filter_map(figure).collect();
            (!figures.is_empty()).then(|| median(figures))
        };
        let whole = |figure: Option<f64>| figure.map_or("–".into(), |figure| format!("{figure:.0}"));
        let ratio = |figure: Option<f64>| figure.map_or("–".into(), |figure| format!("{figure:.2}"));
        let _ = writeln!(
            text,
            "\n## {} contenders on one lock\n\n\
             | pairs/s | batches/s meanwhile | of them synced | machine's syncs/s, idle | pairs/server's syncs \
             | pairs/machine's syncs | p50 ms | p99 ms | max ms | server CPU µs a pair | client cores \
             | grants, least–most |\n\
             |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
            first.contenders
        );
        let _ = writeln!(
            text,
            "| {:.0} | {} | {} | {:.0} | {} | {:.2} | {} | {} | {} | {} | {:.2} | {}–{} |",
            of(|round| round.pairs_per_s),
            whole(some(|round| round.batches_per_s)),
            whole(some(|round| round.server_syncs_per_s)),
            of(|round| round.machine_syncs_per_s),
            ratio(some(|round| Some(
                round.pairs_per_s / round.server_syncs_per_s.filter(|syncs| *syncs > 0.0)?
            ))),
            of(|round| round.pairs_per_s / round.machine_syncs_per_s),
            precise(of(|round| round.latency.p50_us) / 1e3),
            precise(of(|round| round.latency.p99_us) / 1e3),
            precise(of(|round| round.latency.max_us) / 1e3),
            or_dash(some(|round| round.server_cpu_us)),
            of(|round| round.client_cores),
            self.lock_pairs.iter().map(|round| round.grants_min).min().unwrap_or_default(),
            self.lock_pairs.iter().map(|round| round.grants_max).max().unwrap_or_default(),
        );
    }

    fn write_idle(&self, text: &mut String) {
        if self.idle.is_empty() {
            return;
        }
        *text += "\n## Memory of a client that waits\n\n\
                  | who waits | how many | KiB each | of it for a connection that asked nothing \
                  | server before, MiB | after, MiB |\n|---|--:|--:|--:|--:|--:|\n";
        for idle in &self.idle {
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
                idle.wait.name(),
                idle.waiters,
                idle.each_kib(),
                idle.connection_kib(),
                idle.before_kib as f64 / 1024.0,
                idle.waiting_kib as f64 / 1024.0,
            );
        }
        *text += if self.idle.iter().all(|idle| idle.new_server) {
            "\nEach row on a new server.\n"
        } else {
            "\nThe server had worked before, and what a process used once it keeps: it may be more.\n"
        };
    }

    fn write_lock_crowd(&self, text: &mut String) {
        let Some(crowd) = &self.lock_crowd else { return };
        let _ = writeln!(
            text,
            "\n## {} waiters on one lock\n\nAll of them got it, each once, first come, first served.\n\n\
             | all through after s | passed/s | hand-over p50 ms | p99 ms | max ms | server CPU µs each \
             | swapped among those sent at once |\n|--:|--:|--:|--:|--:|--:|--:|",
            crowd.waiters
        );
        let _ = writeln!(
            text,
            "| {:.2} | {:.0} | {} | {} | {} | {} | {} |",
            crowd.through_s,
            crowd.waiters as f64 / crowd.through_s,
            precise(crowd.handover.p50_us / 1e3),
            precise(crowd.handover.p99_us / 1e3),
            precise(crowd.handover.max_us / 1e3),
            or_dash(crowd.server_cpu_us),
            crowd.swapped_in_groups,
        );
    }
}

/// Three digits that matter.
fn precise(figure: f64) -> String {
    let decimals = match figure {
        0.0..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{figure:.decimals$}")
}

fn or_dash(figure: Option<f64>) -> String {
    figure.map_or("–".into(), |figure| format!("{figure:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Percentiles;

    fn cell(load: Load, round: usize, requests_per_s: f64, server_cpu_us: Option<f64>) -> Cell {
        Cell {
            load,
            connections: 100,
            round,
            requests: 1,
            requests_per_s,
            server_cpu_us,
            client_cpu_us: 5.0,
            client_cores: 0.5,
            latency: Percentiles::default(),
        }
    }

    #[test]
    fn ratios_are_within_a_round() {
        let mut report = Report::new(Machine::this());
        for (round, factor) in [(0, 1.0), (1, 3.0), (2, 2.0)] {
            report.writes.push(cell(Load::Echo, round, 1000.0 * factor, Some(10.0 * factor)));
            report.writes.push(cell(Load::KvOneKey, round, 500.0 * factor, Some(20.0 * factor)));
        }
        let text = report.markdown();
        assert!(text.contains("| echo | 100 | 2000 | – | 20.0 | – |"), "{text}");
        assert!(text.contains("| kv-one-key | 100 | 1000 | 50 % | 40.0 | 2.00 |"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let mut report = Report::new(Machine::this());
        report.writes.push(cell(Load::KvOneKey, 0, 1.0, None));
        assert!(report.markdown().contains("| kv-one-key | 100 | 1 | – | – | – |"));
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([0.1234, 1.234, 12.34, 123.4].map(precise), ["0.123", "1.23", "12.3", "123"]);
    }
}
