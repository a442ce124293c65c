//! How much was asked, and what became of it.

use dragon_checker::history::{Endpoint, Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt;

/// Operations by kind and by outcome. As text it is a table, with a line for each pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<(&'static str, String), u64>);

impl Totals {
    /// Those of these operations.
    #[must_use]
    pub fn of(operations: &[Operation]) -> Self {
        let mut totals = Self::default();
        for operation in operations {
            *totals.0.entry((Self::kind(operation), Self::outcome(operation))).or_default() += 1;
        }
        totals
    }

    /// What an operation is, in a word or two: `read`, `write`, `swap`, `counter`, `values and counters`, `payment`,
    /// `lock`, `guard`, `extend`, `pass on`, `unlock`, `watch`, `list values`, `list counters`, `list locks`.
    #[must_use]
    pub fn kind(operation: &Operation) -> &'static str {
        let body = &operation.body;
        let has = |field: &str| body.get(field).is_some();
        match operation.endpoint {
            Endpoint::Watch => return "watch",
            Endpoint::List => {
                return match body["Kind"].as_str() {
                    Some("Counters") => "list counters",
                    Some("Locks") => "list locks",
                    _ => "list values",
                };
            }
            Endpoint::Db => {}
        }
        match (has("LockID"), has("UnlockID")) {
            (true, true) if body["LockID"] != body["UnlockID"] => return "pass on",
            (true, true) if body["LockDur"] == 0 => return "guard",
            (true, true) => return "extend",
            (true, false) => return "lock",
            (false, true) => return "unlock",
            (false, false) if has("IdempotencyIDs") => return "payment",
            (false, false) => {}
        }
        match (has("KVGet"), has("KVSet"), has("Atomic")) {
            (_, true, true) | (true, _, true) => "values and counters",
            (_, _, true) => "counter",
            (true, true, _) => "swap",
            (_, true, _) => "write",
            (_, _, _) => "read",
        }
    }

    /// What became of an operation: the status of an answer or, for 409, its code; `not applied`, `unknown`.
    #[must_use]
    pub fn outcome(operation: &Operation) -> String {
        match &operation.outcome {
            Outcome::Answered { status: 409, body, .. } => body["Code"].as_str().unwrap_or("409").to_owned(),
            Outcome::Answered { status, .. } => status.to_string(),
            Outcome::NotApplied { .. } => "not applied".to_owned(),
            Outcome::Unknown { .. } => "unknown".to_owned(),
        }
    }

    /// How many there are of this kind with this outcome.
    #[must_use]
    pub fn count(&self, kind: &str, outcome: &str) -> u64 {
        let named = |(pair, _): &(&(&str, String), &u64)| pair.0 == kind && pair.1 == outcome;
        self.0.iter().find(named).map_or(0, |(_, count)| *count)
    }

    /// How many there are in all.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each kind and outcome that there is, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.0.iter().map(|((kind, outcome), count)| (*kind, outcome.as_str(), *count))
    }

    /// Adds others to these.
    pub fn add(&mut self, others: &Self) {
        for (pair, count) in &others.0 {
            *self.0.entry(pair.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, outcome, count) in self.iter() {
            writeln!(formatter, "{kind:<20} {outcome:<20} {count:>9}")?;
        }
        writeln!(formatter, "{:<41} {:>9}", "all", self.all())
    }
}
