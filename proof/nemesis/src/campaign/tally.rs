//! What a campaign came to, in numbers, and everything that is not as it should be.

use crate::faults::Fault;
use crate::load::Totals;
use dragon_checker::Report;
use std::collections::BTreeMap;
use std::path::Path;

/// A campaign's outcome.
#[derive(Debug, Default)]
pub struct Tally {
    /// What was tried, for the table.
    pub name: String,
    /// Rounds, each with an account of its own.
    pub rounds: usize,
    /// Operations by kind and outcome.
    pub totals: Totals,
    /// Faults and how often each was struck.
    pub strikes: BTreeMap<String, usize>,
    /// How much the special checkers had to look at.
    pub looked_at: dragon_checker::LookedAt,
    /// Violations, undecided accounts, answers that the contract does not name, processes that died by themselves.
    pub problems: Vec<String>,
}

impl Tally {
    /// Whether there is nothing to complain of, and something was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.rounds > 0
    }

    pub(super) fn struck(&mut self, fault: Fault) {
        *self.strikes.entry(fault.to_string()).or_default() += 1;
    }

    pub(super) fn take_in(&mut self, round: &str, report: &Report, kept: Option<&Path>) {
        self.looked_at.add(&report.looked_at);
        let kept = kept.map_or_else(String::new, |path| format!("; its history is {}", path.display()));
        for violation in &report.violations {
            self.problems.push(format!("{round}: {violation}{kept}"));
        }
        for account in &report.undecided {
            self.problems.push(format!("{round}: account {account} could not be decided{kept}"));
        }
    }
}
