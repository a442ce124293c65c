//! Idempotency ids: at most one request is applied for each, and every later one is told what that was answered.

use crate::ask::{Ask, entries};
use crate::check::{Report, Scope};
use crate::history::{Operation, Outcome};
use dragon_core::layout::FINGERPRINT_BYTES;
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut by_id: BTreeMap<&str, Vec<(usize, &Operation)>> = BTreeMap::new();
    for (number, operation) in scope.operations() {
        for id in entries(&operation.body, "IdempotencyIDs").iter().filter_map(Value::as_str) {
            by_id.entry(id).or_default().push((number, operation));
        }
    }
    // One that may be forgotten meanwhile may also be used again.
    by_id.retain(|_, uses| uses.iter().all(|(_, operation)| operation.body["IdempotencyTTL"].is_null()));
    for (id, uses) in by_id {
        report.looked_at.ids += 1;
        judge(scope, id, &uses, report);
    }
}

fn judge(scope: &Scope<'_>, id: &str, uses: &[(usize, &Operation)], report: &mut Report) {
    let mut first: Option<(usize, &Value)> = None;
    for (number, operation) in uses {
        let Some(answer) = operation.applied() else { continue };
        if let Some((applied, _)) = first {
            let what = format!("{id} was applied twice");
            report.add("idempotency", scope.account, what, vec![applied, *number]);
        }
        first = Some((*number, answer));
    }
    for (number, operation) in uses {
        let Some((_, told)) = operation.answer() else { continue };
        if told["Code"] != "duplicate_request" || told["ID"] != id {
            continue;
        }
        report.looked_at.duplicates += 1;
        let response = &told["Response"];
        match first {
            // An answer may have been too long to be kept.
            _ if response.is_null() => {}
            Some((applied, answer)) if answer != response => {
                let what = format!("{id} was answered {answer} first, and then {response}");
                report.add("idempotency", scope.account, what, vec![applied, *number]);
            }
            Some(_) => {}
            // The first answer was lost: from now on it is this one.
            None => first = Some((*number, response)),
        }
        let can_be = |other: &Operation| !matches!(other.outcome, Outcome::NotApplied { .. });
        let may_have = |other: &&(usize, &Operation)| {
            let is_applied =
                other.1.applied().is_some() || matches!(other.1.outcome, Outcome::Unknown { .. });
            other.0 != *number && is_applied && can_be(other.1)
        };
        let own = fingerprint(operation);
        let same = uses.iter().filter(may_have).any(|(_, other)| fingerprint(other) == own);
        let other = uses.iter().filter(may_have).any(|(_, other)| fingerprint(other) != own);
        let is_wrong = if told["SameRequest"] == true { !same } else { !other };
        if is_wrong {
            let what = format!(
                "{id} is told to be used by {}, and was not",
                if same { "another request" } else { "this request" }
            );
            report.add("idempotency", scope.account, what, vec![*number]);
        }
    }
}

/// By which the core tells requests apart, whatever their spelling.
fn fingerprint(operation: &Operation) -> Option<[u8; FINGERPRINT_BYTES]> {
    match Ask::of(operation) {
        Ok(Ask::Db(request)) => request.idempotency().map(|idempotency| idempotency.fingerprint),
        Ok(Ask::Watch { .. } | Ask::List { .. }) | Err(_) => None,
    }
}
