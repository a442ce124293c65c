//! What answers tell of the revision that an operation took. None of it is needed for a right verdict; without it the
//! search would try every order of the operations of unknown fate.

use crate::ask::{Ask, entries};
use crate::history::{Endpoint, Operation, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What an operation does to the account's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it only reads, or was refused.
    None,
    /// It took this one.
    Took(u64),
    /// It took one, or may have, and was not told which.
    Some,
}

impl Effect {
    pub(crate) fn of(operation: &Operation, ask: &Ask) -> Self {
        let Ask::Db(request) = ask else { return Self::None };
        match &operation.outcome {
            _ if request.is_read() => Self::None,
            Outcome::Answered { status: 200, body, .. } => match body["Version"].as_u64() {
                Some(version) => Self::Took(version),
                None => Self::Some,
            },
            Outcome::Answered { .. } | Outcome::NotApplied { .. } => Self::None,
            Outcome::Unknown { .. } => Self::Some,
        }
    }
}

/// Which revisions are whose, as far as it was told.
#[derive(Debug, Default)]
pub(crate) struct Clues {
    taken: BTreeSet<u64>,
    /// Revisions of which some answer tells what was written at them: only these operations can have done that.
    candidates: BTreeMap<u64, BTreeSet<usize>>,
    /// Operations that are the only candidate of a revision.
    only_at: BTreeMap<usize, u64>,
}

type Judged<'a> = (&'a Operation, &'a Ask, Effect);

impl Clues {
    /// Gathers them from an account's operations.
    pub(crate) fn gather(operations: &[Judged<'_>]) -> Self {
        let mut clues = Self::default();
        for (_, _, effect) in operations {
            if let Effect::Took(revision) = effect {
                clues.taken.insert(*revision);
            }
        }
        let writers = Writers::of(operations);
        for (operation, ..) in operations {
            clues.read(operation, &writers);
        }
        for (revision, candidates) in &clues.candidates {
            if let (1, Some(only)) = (candidates.len(), candidates.first()) {
                clues.only_at.insert(*only, *revision);
            }
        }
        clues
    }

    /// Whether the operation may take effect at this revision. One that takes none may at any.
    pub(crate) fn allow(&self, operation: usize, effect: Effect, revision: u64) -> bool {
        match effect {
            Effect::None => true,
            Effect::Took(took) => took == revision,
            Effect::Some => {
                !self.taken.contains(&revision)
                    && self.only_at.get(&operation).is_none_or(|only| *only == revision)
                    && self.candidates.get(&revision).is_none_or(|candidates| candidates.contains(&operation))
            }
        }
    }

    /// Whether no answer tells what was written at this revision.
    pub(crate) fn tell_nothing_of(&self, revision: u64) -> bool {
        !self.candidates.contains_key(&revision) && !self.taken.contains(&revision)
    }

    /// Whether an operation is known to have taken this revision.
    pub(crate) fn is_taken(&self, revision: u64) -> bool {
        self.taken.contains(&revision)
    }

    fn read(&mut self, operation: &Operation, writers: &Writers) {
        let Some((status, body)) = operation.answer() else { return };
        for entry in entries(body, "KV").iter().chain(entries(&body["Response"], "KV")) {
            self.note_value(entry, writers);
        }
        // What was compared is told as well, if only that it was the same.
        for set in entries(&operation.body, "KVSet").iter().filter(|_| status == 200) {
            self.note(&set["IfVersion"], writers.setters.get(set["Key"].as_str().unwrap_or_default()));
        }
        if operation.endpoint == Endpoint::Watch && status == 204 {
            let key = operation.body["ID"].as_str().unwrap_or_default();
            self.note(&operation.body["Version"], writers.setters.get(key));
        }
        if operation.endpoint == Endpoint::Watch && status == 200 {
            self.note_value(body, writers);
        }
        for entry in entries(body, "Locks") {
            self.note(&entry["Lock"], writers.takers.get(entry["ID"].as_str().unwrap_or_default()));
        }
        match body["Code"].as_str() {
            Some("duplicate_request") => {
                self.note(
                    &body["Response"]["Version"],
                    writers.users.get(body["ID"].as_str().unwrap_or_default()),
                );
            }
            Some("precondition_failed") => {
                self.note(&body["Version"], writers.setters.get(body["Key"].as_str().unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn note_value(&mut self, entry: &Value, writers: &Writers) {
        let Some(key) = entry["Key"].as_str() else { return };
        let written = (key.to_owned(), entry["Value"].to_string());
        self.note(&entry["Version"], writers.values.get(&written));
    }

    fn note(&mut self, revision: &Value, candidates: Option<&BTreeSet<usize>>) {
        let Some(revision) = revision.as_u64().filter(|revision| *revision > 0) else { return };
        if self.taken.contains(&revision) {
            return;
        }
        let candidates = candidates.cloned().unwrap_or_default();
        let known = self.candidates.entry(revision).or_insert_with(|| candidates.clone());
        *known = &*known & &candidates;
    }
}

/// Who may have written what.
#[derive(Default)]
struct Writers {
    values: BTreeMap<(String, String), BTreeSet<usize>>,
    setters: BTreeMap<String, BTreeSet<usize>>,
    takers: BTreeMap<String, BTreeSet<usize>>,
    users: BTreeMap<String, BTreeSet<usize>>,
}

impl Writers {
    fn of(operations: &[Judged<'_>]) -> Self {
        let mut writers = Self::default();
        let writing = operations.iter().enumerate().filter(|(_, (.., effect))| *effect != Effect::None);
        for (at, (operation, ..)) in writing {
            let body = &operation.body;
            for set in entries(body, "KVSet") {
                let (Some(key), Some(value)) = (set["Key"].as_str(), set.get("Value")) else { continue };
                writers.values.entry((key.to_owned(), value.to_string())).or_default().insert(at);
                writers.setters.entry(key.to_owned()).or_default().insert(at);
            }
            if let Some(lock) = body["LockID"].as_str() {
                writers.takers.entry(lock.to_owned()).or_default().insert(at);
            }
            for id in entries(body, "IdempotencyIDs").iter().filter_map(Value::as_str) {
                writers.users.entry(id.to_owned()).or_default().insert(at);
            }
        }
        writers
    }
}
