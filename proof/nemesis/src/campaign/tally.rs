//! What a campaign came to, in numbers, and everything that is not as it should be.

use crate::faults::Fault;
use crate::load::Totals;
use dragon_checker::{LookedAt, Report};
use std::collections::BTreeMap;
use std::path::Path;

/// A campaign's outcome.
#[derive(Debug, Default)]
pub struct Tally {
    /// What was tried, for the table.
    pub name: String,
    /// Rounds, each with fresh accounts.
    pub rounds: usize,
    /// Operations by kind and outcome.
    pub totals: Totals,
    /// Faults that could be struck, and how often each was.
    pub strikes: BTreeMap<Fault, usize>,
    /// How much the special checkers had to look at.
    pub looked_at: LookedAt,
    /// Accounts that were checked.
    pub accounts: usize,
    /// Accounts whose linearizability could not be decided within the search's bounds, and where their histories are.
    pub undecided: Vec<String>,
    /// Violations, answers that the contract does not name, what could not go on.
    pub problems: Vec<String>,
}

/// Of so many accounts one may be left undecided: all other checks were made of it.
const ACCOUNTS_AN_UNDECIDED: usize = 30;

impl Tally {
    /// That of a campaign which is to strike these faults.
    #[must_use]
    pub fn new(name: &str, faults: &[Fault]) -> Self {
        let strikes = faults.iter().map(|fault| (*fault, 0)).collect();
        Self { name: name.to_owned(), strikes, ..Self::default() }
    }

    /// Whether there is nothing to complain of, and something was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let is_decided =
            self.undecided.len() * ACCOUNTS_AN_UNDECIDED <= self.accounts.max(ACCOUNTS_AN_UNDECIDED);
        self.problems.is_empty() && is_decided && self.rounds > 0
    }

    /// Faults that were not struck once: the campaign was too short for them.
    #[must_use]
    pub fn kinds_left_out(&self) -> usize {
        self.strikes.values().filter(|times| **times == 0).count()
    }

    pub(super) fn struck(&mut self, fault: Fault) {
        *self.strikes.entry(fault).or_default() += 1;
    }

    pub(super) fn take_in(&mut self, round: &str, report: &Report, kept: Option<&Path>) {
        self.looked_at.add(&report.looked_at);
        self.accounts += report.accounts;
        let kept = kept.map_or_else(String::new, |path| format!("; its history is {}", path.display()));
        for violation in &report.violations {
            self.problems.push(format!("{round}: {violation}{kept}"));
        }
        for account in &report.undecided {
            self.undecided.push(format!("{round}: account {account}{kept}"));
        }
    }
}
