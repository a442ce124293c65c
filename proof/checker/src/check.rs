//! All checkers on one history.

use crate::history::{History, Moment};
use crate::linear::{self, Finding};
use crate::patience::Patience;
use crate::span::Clock;
use crate::{counters, holds, idempotency, leases, locks, watches};
use std::fmt;

/// What a history is held against, beside the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// How long, in microseconds, whoever waits for something that has come may take to be told, once nothing is
    /// done to the system any more. It separates a lost wake-up from a slow one.
    pub grace_us: Moment,
}

/// Something that the contract does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub checker: &'static str,
    /// The account.
    pub account: String,
    /// What it is.
    pub what: String,
    /// The operations that show it, as numbers in the history.
    pub operations: Vec<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} in account {}: {} (operations {:?})",
            self.checker, self.account, self.what, self.operations
        )
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the contract does not allow.
    pub violations: Vec<Violation>,
    /// Accounts whose linearizability could not be decided within the search's bounds. A clean run has none.
    pub undecided: Vec<String>,
    /// How many accounts were checked.
    pub accounts: usize,
    /// How often each of the special checkers had something to look at, so that an empty check shows.
    pub looked_at: LookedAt,
}

/// What the special checkers compared, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookedAt {
    /// Grants of locks.
    pub grants: usize,
    /// Pairs of waiters of which one was known to be in the queue before the other asked.
    pub queued_pairs: usize,
    /// Waits for a lock that was known to have become free meanwhile.
    pub served_waiters: usize,
    /// Leases that ran out and whose lock was taken by another.
    pub takeovers: usize,
    /// Watches that ended.
    pub watches: usize,
    /// Watches whose key was known to have changed meanwhile.
    pub woken_watches: usize,
    /// Counters whose sum was compared.
    pub sums: usize,
    /// Numbers that were given out.
    pub numbers: usize,
    /// Idempotency ids.
    pub ids: usize,
    /// Answers to ids that had been used.
    pub duplicates: usize,
}

impl LookedAt {
    /// Adds what another check looked at.
    pub fn add(&mut self, other: &Self) {
        self.grants += other.grants;
        self.queued_pairs += other.queued_pairs;
        self.served_waiters += other.served_waiters;
        self.takeovers += other.takeovers;
        self.watches += other.watches;
        self.woken_watches += other.woken_watches;
        self.sums += other.sums;
        self.numbers += other.numbers;
        self.ids += other.ids;
        self.duplicates += other.duplicates;
    }
}

impl Report {
    /// Whether nothing was found, and all was decided.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }

    pub(crate) fn add(&mut self, checker: &'static str, account: &str, what: String, operations: Vec<usize>) {
        self.violations.push(Violation { checker, account: account.to_owned(), what, operations });
    }
}

/// Runs every checker.
#[must_use]
pub fn check(history: &History, expectations: &Expectations) -> Report {
    let mut report = Report::default();
    let patience = Patience::new(expectations.grace_us, &history.disturbances);
    let clock = Clock::of(history);
    for (account, numbers) in linear::by_account(history) {
        report.accounts += 1;
        match linear::check(history, &clock, account, &numbers) {
            Finding::Linearizable => {}
            Finding::Violated { operation, why } => {
                report.add("linearizability", account, why, vec![operation])
            }
            Finding::Undecided => report.undecided.push(account.to_owned()),
        }
        let scope = Scope { history, account, numbers: &numbers, patience: &patience };
        let by_lock = holds::gather(&scope);
        locks::check(&scope, &by_lock, &mut report);
        leases::check(&scope, &by_lock, &mut report);
        watches::check(&scope, &mut report);
        counters::check(&scope, &mut report);
        idempotency::check(&scope, &mut report);
    }
    report
}

/// One account of a history.
pub(crate) struct Scope<'a> {
    pub(crate) history: &'a History,
    pub(crate) account: &'a str,
    pub(crate) numbers: &'a [usize],
    pub(crate) patience: &'a Patience<'a>,
}

impl<'a> Scope<'a> {
    /// The account's operations with their numbers.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (usize, &'a crate::history::Operation)> + '_ {
        self.numbers.iter().map(|&number| (number, &self.history.operations[number]))
    }
}
