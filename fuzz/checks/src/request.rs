//! Bodies of the data routes: whatever the bytes, an answer and no panic; what is accepted keeps every limit of the contract and
//! each value byte for byte, and means the same however it is written; what is refused is refused in the form of errors.

use crate::bodies::body;
use cloud_dragon::fuzzing::{Refused, check_db, list, read_db, watch};
use dragon_core::cell::{Account, Cell};
use dragon_core::limits::Limits;
use dragon_core::request::{Held, LockStep, Request, ValueChange, Wanted};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// So low that short inputs get to both sides of each.
fn low_limits() -> Limits {
    Limits {
        operations: 3,
        request_bytes: 4_096,
        answer_bytes: 4_096,
        value_bytes: 16,
        value_depth: 2,
        key_bytes: 4,
        idempotency_ids: 2,
    }
}

/// Takes the input for a body of each of the three routes.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) {
    let account = Account::new("a").expect("a name");
    let low = check_body(&account, bytes, &low_limits());
    let high = check_body(&account, bytes, &Limits::default());
    for (low, high) in low.into_iter().zip(high) {
        assert!(high || !low, "what keeps low limits keeps high ones");
    }
}

/// Which of the routes accept it.
fn check_body(account: &Account, bytes: &[u8], limits: &Limits) -> [bool; 3] {
    let accepted = [
        check_db_body(account, bytes, limits),
        watch(account, bytes, limits).map(|(key, seen, wait)| {
            check_id(&key, limits);
            assert!(seen <= i64::MAX as u64 && wait.as_secs() <= 300 && wait.subsec_nanos() == 0);
        }),
        list(account.clone(), bytes, limits).map(|query| {
            assert!((1..=1_000).contains(&query.entries_max));
            assert!(query.prefix.len().max(query.after.len()) <= limits.key_bytes);
            assert!(query.from() >= query.stem());
            assert!(query.stem() < query.end() && !query.with_expired);
        }),
    ];
    accepted.map(|accepted| match accepted {
        Ok(()) => {
            let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
            assert!(is_json && std::str::from_utf8(bytes).is_ok());
            true
        }
        Err(refused) => {
            check_refused(&refused);
            false
        }
    })
}

fn check_db_body(account: &Account, bytes: &[u8], limits: &Limits) -> Result<(), Refused> {
    let draft = read_db(bytes)?;
    check_values(bytes);
    let request = check_db(account.clone(), draft.clone(), limits);
    for is_odd in [false, true] {
        let written = body(&draft, is_odd);
        let read = read_db(written.as_bytes());
        let again = read.unwrap_or_else(|refused| panic!("{written}: {refused:?}"));
        assert_eq!(format!("{again:?}"), format!("{draft:?}"), "{written}");
        let again = check_db(account.clone(), again, limits);
        // The fingerprint is among what is compared.
        assert_eq!(format!("{again:?}"), format!("{request:?}"), "{written}");
    }
    check_limits(&request?, limits);
    Ok(())
}

/// The values of a body, as another reader finds them.
#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow, default, rename = "KVSet")]
    sets: Option<Vec<Set<'a>>>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow, default, rename = "Value")]
    value: Option<&'a RawValue>,
}

/// Each value is there byte for byte. (A `null` is read as nothing here.)
fn check_values(bytes: &[u8]) {
    let values: Values<'_> = serde_json::from_slice(bytes).expect("it was read before");
    let draft = read_db(bytes).expect("it was read before");
    let sets = values.sets.unwrap_or_default();
    assert_eq!(sets.len(), draft.kv_set.len());
    for (set, draft) in sets.iter().zip(&draft.kv_set) {
        let found = set.value.map(|value| value.get().as_bytes());
        let kept = draft.value.as_deref().filter(|json| *json != b"null");
        assert_eq!(kept, found);
    }
}

fn check_limits(request: &Request, limits: &Limits) {
    let operations = request.sets().len() + request.gets().len() + request.counters().len();
    let ids = request.idempotency().map_or(&[][..], |idempotency| &idempotency.cells);
    assert!(operations <= limits.operations && ids.len() <= limits.idempotency_ids);
    assert!(request.idempotency().is_none_or(|ids| (1..=2_592_000).contains(&ids.ttl_s)));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "no id twice");
    let keys = request.sets().iter().map(|set| &set.cell);
    assert_eq!(keys.collect::<HashSet<_>>().len(), request.sets().len(), "no key twice");
    let has_lock = !matches!(request.lock(), LockStep::None);
    assert!(operations > 0 || !ids.is_empty() || has_lock, "something is asked");

    request.footprint().filter(|cell| *cell != request.meta()).for_each(|cell| check_id(cell, limits));
    let footprint: HashSet<&Cell> = request.footprint().collect();
    assert!(request.reads().chain(request.reads_whole()).all(|cell| footprint.contains(cell)));
    for set in request.sets() {
        assert!(set.if_version.is_none_or(|version| version <= i64::MAX as u64));
        if let ValueChange::Put { json, ttl_s } = &set.change {
            assert!(json.len() <= limits.value_bytes && depth(json) <= limits.value_depth);
            assert!(ttl_s.is_none_or(|ttl_s| (1..=3_153_600_000).contains(&ttl_s)));
            assert_eq!(json.trim_ascii().len(), json.len(), "white space around it is not kept");
        }
    }
    check_lock(request.lock());
}

fn check_lock(step: &LockStep) {
    let check_held = |held: &Held| assert!(held.handle <= i64::MAX as u64);
    let check_wanted = |wanted: &Wanted| {
        assert!((1..=86_400).contains(&wanted.dur_s) && wanted.wait_s <= 300 && wanted.owner.len() <= 256);
    };
    match step {
        LockStep::None => {}
        LockStep::Release(held) => check_held(held),
        LockStep::Acquire(wanted) => check_wanted(wanted),
        LockStep::Pass(held, wanted) => {
            check_held(held);
            check_wanted(wanted);
            assert_ne!(held.cell, wanted.cell);
        }
        LockStep::Extend { held, dur_s, owner } => {
            check_held(held);
            assert!(dur_s.is_none_or(|dur_s| (1..=86_400).contains(&dur_s)));
            assert!(owner.as_ref().is_none_or(|owner| owner.len() <= 256));
        }
    }
}

fn check_id(cell: &Cell, limits: &Limits) {
    assert!((1..=limits.key_bytes).contains(&cell.id().len()) && !cell.id().contains('\0'));
    assert_eq!(Cell::from_bytes(cell.as_bytes().clone()).as_ref(), Some(cell), "a store reads it back");
}

/// How deep a value nests, by another reader than the server's own.
fn depth(json: &[u8]) -> usize {
    fn of(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(entries) => 1 + entries.iter().map(of).max().unwrap_or(0),
            serde_json::Value::Object(fields) => 1 + fields.values().map(of).max().unwrap_or(0),
            _ => 0,
        }
    }
    // What this reader does not take (lone surrogates, numbers too large for it, 128 levels) it has nothing to say about.
    serde_json::from_slice(json).map_or(0, |value| of(&value))
}

fn check_refused(refused: &Refused) {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Form {
        code: String,
        message: String,
    }
    let Form { code, message } =
        serde_json::from_slice(&refused.body).expect("an error has the fields listed");
    assert!(matches!((refused.status, code.as_str()), (400, "invalid_request") | (413, "payload_too_large")));
    assert!((1..=2_048).contains(&message.len()));
}
