//! The table that a matrix ends with.

use super::tally::Tally;
use std::fmt::Write as _;

/// One line a campaign, as Markdown.
#[must_use]
pub fn table(tallies: &[Tally]) -> String {
    let mut table = String::from(
        "| campaign | rounds | operations | answered | not applied | unknown | faults | kinds | grants | queued pairs | served waiters | \
         takeovers | woken watches | sums | duplicates | undecided | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for tally in tallies {
        let Tally { name, rounds, totals, looked_at, accounts, .. } = tally;
        let with = |wanted: &str| {
            totals.iter().filter(|(_, outcome, _)| *outcome == wanted).map(|(.., count)| count).sum::<u64>()
        };
        let (operations, not_applied, unknown) = (totals.all(), with("not applied"), with("unknown"));
        let answered = operations - not_applied - unknown;
        let faults: usize = tally.strikes.values().sum();
        let (all, left_out) = (tally.strikes.len(), tally.kinds_left_out());
        let kinds = if left_out == 0 { format!("{all}") } else { format!("{} of {all}", all - left_out) };
        let verdict = match tally.problems.len() {
            _ if tally.is_clean() => "clean".into(),
            0 => "**too many undecided**".into(),
            problems => format!("**{problems} problems**"),
        };
        writeln!(
            table,
            "| {name} | {rounds} | {operations} | {answered} | {not_applied} | {unknown} | {faults} | {kinds} | {} | {} | {} | {} | {} | {} | {} | {} of {accounts} | {verdict} |",
            looked_at.grants,
            looked_at.queued_pairs,
            looked_at.served_waiters,
            looked_at.takeovers,
            looked_at.woken_watches,
            looked_at.sums,
            looked_at.duplicates,
            tally.undecided.len(),
        )
        .unwrap_or_default();
    }
    table
}
