//! Counters that are only ever added to: the sum is what was added, and no number of a sequence is given out twice.

use crate::ask::entries;
use crate::check::{Report, Scope};
use crate::history::{Endpoint, Operation, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Counter {
    /// Set, deleted or added to conditionally by someone: its sum says nothing.
    is_mixed: bool,
    /// What was surely added.
    sure: i64,
    /// What may have been added besides.
    maybe: i64,
    /// The latest value read, by the call of the read.
    last: Option<(u64, i64, usize)>,
    /// The last moment at which something may have been added.
    quiet_from_us: u64,
    /// Numbers given out: the first, the last, and by which operation.
    ranges: Vec<(i64, i64, usize)>,
}

pub(crate) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut counters: BTreeMap<&str, Counter> = BTreeMap::new();
    let applied = Applied::gather(scope);
    for (number, operation) in scope.operations() {
        add_changes(&mut counters, (number, operation), &applied);
        if operation.endpoint == Endpoint::List {
            let shown = operation.applied().map_or(&[][..], |body| entries(body, "Counters"));
            for entry in shown {
                read(&mut counters, entry, (number, operation));
            }
        }
    }
    for (key, counter) in counters.iter_mut().filter(|(_, counter)| !counter.is_mixed) {
        counter.judge(scope, key, report);
    }
}

fn read<'a>(
    counters: &mut BTreeMap<&'a str, Counter>,
    entry: &'a Value,
    (number, operation): (usize, &Operation),
) {
    let (Some(key), Some(value)) = (entry["Key"].as_str(), entry["Value"].as_i64()) else { return };
    let counter = counters.entry(key).or_default();
    if counter.last.is_none_or(|(called_us, ..)| called_us < operation.called_us) {
        counter.last = Some((operation.called_us, value, number));
    }
}

fn add_changes<'a>(
    counters: &mut BTreeMap<&'a str, Counter>,
    (number, operation): (usize, &'a Operation),
    applied: &Applied<'a>,
) {
    let answered = operation.applied().map_or(&[][..], |body| entries(body, "Atomic"));
    for (at, change) in entries(&operation.body, "Atomic").iter().enumerate() {
        let Some(key) = change["Key"].as_str() else { continue };
        let Some(add) = change["Add"].as_i64() else {
            let is_read = change["Set"].is_null() && change["Delete"].is_null();
            counters.entry(key).or_default().is_mixed |= !is_read;
            continue;
        };
        let counter = counters.entry(key).or_default();
        counter.is_mixed |= add <= 0 || !change["IfEq"].is_null() || applied.is_ambiguous(operation);
        match applied.fate(number, operation) {
            Fate::Applied => counter.sure += add,
            Fate::Maybe => counter.maybe += add,
            Fate::Not => {}
        }
        if matches!(operation.outcome, Outcome::NotApplied { .. }) {
            continue;
        }
        counter.quiet_from_us = counter.quiet_from_us.max(operation.ended_us());
        if let Some(last) = answered.get(at).and_then(|entry| entry["Value"].as_i64()) {
            counter.ranges.push((last - add + 1, last, number));
        }
    }
}

impl Counter {
    fn judge(&mut self, scope: &Scope<'_>, key: &str, report: &mut Report) {
        report.looked_at.numbers += self.ranges.len();
        self.ranges.sort_unstable();
        for pair in self.ranges.windows(2) {
            let [(_, last, one), (first, _, other)] = pair else { continue };
            if first <= last {
                let what = format!("the number {first} of {key} was given out twice");
                report.add("counters", scope.account, what, vec![*one, *other]);
            }
        }
        let Some((_, value, number)) = self.last.filter(|(called_us, ..)| *called_us > self.quiet_from_us)
        else {
            return;
        };
        report.looked_at.sums += 1;
        if value < self.sure || value > self.sure + self.maybe {
            let (sure, most) = (self.sure, self.sure + self.maybe);
            let what = format!("{key} ends at {value}; {sure} was surely added to it, and {most} at most");
            report.add("counters", scope.account, what, vec![number]);
        }
    }
}

enum Fate {
    Applied,
    Maybe,
    Not,
}

/// Which of several tries of the same request counts, where they carry an idempotency id.
#[derive(Default)]
struct Applied<'a> {
    /// The ids of which it is known that their request was applied, and the number of the first try.
    sure: BTreeSet<&'a str>,
    first: BTreeMap<&'a str, usize>,
    bodies: BTreeMap<&'a str, &'a Value>,
    /// Ids that several bodies were sent with.
    ambiguous: BTreeSet<&'a str>,
}

impl<'a> Applied<'a> {
    fn gather(scope: &Scope<'a>) -> Self {
        let mut applied = Self::default();
        for (number, operation) in scope.operations() {
            let Some(id) = first_id(operation) else { continue };
            if *applied.bodies.entry(id).or_insert(&operation.body) != &operation.body {
                applied.ambiguous.insert(id);
            }
            if !matches!(operation.outcome, Outcome::NotApplied { .. }) {
                applied.first.entry(id).or_insert(number);
            }
            let is_told = operation.answer().is_some_and(|(status, body)| {
                status == 200 || body["Code"] == "duplicate_request" && body["SameRequest"] == true
            });
            if is_told {
                applied.sure.insert(id);
            }
        }
        applied
    }

    fn is_ambiguous(&self, operation: &Operation) -> bool {
        first_id(operation).is_some_and(|id| self.ambiguous.contains(id))
    }

    fn fate(&self, number: usize, operation: &Operation) -> Fate {
        match (first_id(operation), &operation.outcome) {
            (_, Outcome::NotApplied { .. }) => Fate::Not,
            (Some(id), _) if self.first.get(id) != Some(&number) => Fate::Not,
            (Some(id), _) if self.sure.contains(id) => Fate::Applied,
            (_, Outcome::Answered { status: 200, .. }) => Fate::Applied,
            (_, Outcome::Answered { .. }) => Fate::Not,
            (_, Outcome::Unknown { .. }) => Fate::Maybe,
        }
    }
}

/// The id by which tries of one request are known. One that is soon forgotten tells nothing.
fn first_id(operation: &Operation) -> Option<&str> {
    if !operation.body["IdempotencyTTL"].is_null() {
        return None;
    }
    entries(&operation.body, "IdempotencyIDs").first()?.as_str()
}
