//! Bodies as HTTP carries them: requests into the core's, the core's outcomes into answers.

use crate::recorder::Fate;
use bytes::Bytes;
use dragon_contract::BackendError;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::page::{Page, Query};
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Verdict};
use dragon_waiters::{Failure, Watched};
use serde_json::{Value, json};
use std::time::Duration;

fn text(body: &Value, field: &str) -> Option<String> {
    body[field].as_str().map(str::to_owned)
}

fn entries<T>(body: &Value, field: &str, entry: impl Fn(&Value) -> T) -> Vec<T> {
    body[field].as_array().map(|entries| entries.iter().map(entry).collect()).unwrap_or_default()
}

fn counter(entry: &Value) -> AtomicDraft {
    AtomicDraft {
        key: text(entry, "Key").unwrap_or_default(),
        add: entry["Add"].as_i64(),
        set: entry["Set"].as_i64(),
        delete: entry["Delete"] == true,
        if_eq: entry["IfEq"].as_i64(),
    }
}

fn set(entry: &Value) -> SetDraft {
    SetDraft {
        key: text(entry, "Key").unwrap_or_default(),
        value: entry.get("Value").map(|value| Bytes::from(value.to_string())),
        delete: entry["Delete"] == true,
        ttl_s: entry["TTL"].as_u64(),
        if_version: entry["IfVersion"].as_u64(),
    }
}

/// The request of a `/db` body.
///
/// # Panics
/// When it is invalid: the clients here make no such mistakes.
#[must_use]
pub fn db_request(account: &str, body: &Value) -> Request {
    let draft = Draft {
        idempotency_ids: entries(body, "IdempotencyIDs", |id| id.as_str().unwrap_or_default().to_owned()),
        idempotency_ttl_s: body["IdempotencyTTL"].as_u64(),
        unlock_id: text(body, "UnlockID"),
        unlock: body["Unlock"].as_u64(),
        lock_id: text(body, "LockID"),
        lock_dur_s: body["LockDur"].as_u64(),
        lock_wait_s: body["LockWait"].as_u64(),
        lock_owner: text(body, "LockOwner"),
        atomic: entries(body, "Atomic", counter),
        kv_set: entries(body, "KVSet", set),
        kv_get: entries(body, "KVGet", |get| text(get, "Key").unwrap_or_default()),
    };
    Request::new(account_of(account), draft, &Limits::default())
        .unwrap_or_else(|invalid| panic!("{body} is invalid: {invalid}"))
}

/// The account of that name.
///
/// # Panics
/// When that is no name.
#[must_use]
pub fn account_of(name: &str) -> Account {
    Account::new(name).expect("the names of accounts are made here")
}

/// What a `/watch` body asks for: the key, the version that is known, and how long to wait.
#[must_use]
pub fn watched(account: &Account, body: &Value) -> (Cell, u64, Duration) {
    let key = Cell::new(account, Kind::Value, body["ID"].as_str().unwrap_or_default());
    let wait = Duration::from_secs(body["Wait"].as_u64().unwrap_or(60));
    (key, body["Version"].as_u64().unwrap_or_default(), wait)
}

/// The page that a `/list` body asks for.
///
/// # Panics
/// When it is invalid.
#[must_use]
pub fn list_query(account: &Account, body: &Value) -> Query {
    let kind = match body["Kind"].as_str() {
        Some("Counters") => Kind::Counter,
        Some("Locks") => Kind::Lock,
        _ => Kind::Value,
    };
    let (prefix, after) = (text(body, "Prefix").unwrap_or_default(), text(body, "After").unwrap_or_default());
    Query::new(account.clone(), kind, prefix, after, body["Limit"].as_u64(), &Limits::default())
        .expect("the pages that are asked for here are valid")
}

/// The answer to a verdict.
#[must_use]
pub fn verdict_fate(verdict: Option<Verdict>) -> Fate {
    match verdict {
        Some(Verdict::Applied(applied)) => Fate::Answered(200, parsed(&applied.answer)),
        Some(Verdict::Rejected(rejection)) => rejection_fate(rejection),
        Some(Verdict::Blocked(_)) | None => Fate::NotApplied,
    }
}

/// The answer to a watch.
#[must_use]
pub fn watched_fate(watched: Watched) -> Fate {
    match watched {
        Watched::Changed(answer) => Fate::Answered(200, parsed(&answer)),
        Watched::Unchanged => Fate::Answered(204, Value::Null),
    }
}

/// The answer to a failure.
///
/// # Panics
/// When the store is said to be damaged, which it never is.
#[must_use]
pub fn failure_fate(failure: Failure) -> Fate {
    match failure {
        Failure::Rejected(rejection) => rejection_fate(rejection),
        Failure::Backend(BackendError::OutcomeUnknown(_)) => Fate::Unknown,
        Failure::Backend(BackendError::Corrupt(detail)) => panic!("the store is damaged: {detail}"),
        Failure::Backend(BackendError::Busy(_) | BackendError::Unavailable(_)) | Failure::Draining => {
            Fate::NotApplied
        }
    }
}

fn rejection_fate(rejection: Rejection) -> Fate {
    let body = match rejection {
        Rejection::DuplicateRequest { id, response, same_request } => {
            let mut body = json!({"Code": "duplicate_request", "ID": id, "SameRequest": same_request});
            if let Some(response) = response {
                body["Response"] = parsed(&response);
            }
            body
        }
        Rejection::LockTimeout { till_ms, owner } => {
            let mut body = json!({"Code": "lock_timeout", "Till": till_ms / 1_000});
            if !owner.is_empty() {
                body["Owner"] = String::from_utf8_lossy(&owner).into();
            }
            body
        }
        Rejection::NotLocked { id } => json!({"Code": "not_locked", "ID": id}),
        Rejection::VersionMismatch { key, version } => {
            json!({"Code": "precondition_failed", "Key": key, "Version": version})
        }
        Rejection::ValueMismatch { key, value } => {
            json!({"Code": "precondition_failed", "Key": key, "Value": value})
        }
        Rejection::CounterOverflow { key } => json!({"Code": "counter_overflow", "Key": key}),
        Rejection::Replacing => return Fate::NotApplied,
        Rejection::AnswerTooLarge { .. } => return Fate::Answered(413, json!({"Code": "payload_too_large"})),
    };
    Fate::Answered(409, body)
}

/// The answer to a list.
///
/// # Panics
/// When a row can't be read.
#[must_use]
pub fn page_fate(kind: Kind, page: &Page, waiting: &[usize]) -> Fate {
    let readable = "the rows are the core's own";
    let entry = |(shown, waiting): (&dragon_core::page::Shown, &usize)| {
        let (cell, row) = (&shown.cell, &shown.row);
        match kind {
            Kind::Counter => {
                let value = layout::read_counter(cell, Some(row)).expect(readable);
                json!({"Key": cell.id(), "Value": value})
            }
            Kind::Lock => {
                let (header, lock) = layout::read_lock(cell, row).expect(readable);
                let till = header.expires_ms / 1_000;
                let mut entry =
                    json!({"ID": cell.id(), "Lock": lock.handle, "Till": till, "Waiting": waiting});
                if let Some(granted_ms) = lock.granted_ms {
                    entry["Since"] = (granted_ms / 1_000).into();
                }
                if !lock.owner.is_empty() {
                    entry["Owner"] = String::from_utf8_lossy(&lock.owner).into();
                }
                entry
            }
            Kind::Value | Kind::Meta | Kind::Idempotency | Kind::Staged => {
                let version = layout::header(cell, row).expect(readable).revision;
                json!({"Key": cell.id(), "Version": version, "Value": parsed(&layout::value(row))})
            }
        }
    };
    let name = match kind {
        Kind::Counter => "Counters",
        Kind::Lock => "Locks",
        Kind::Value | Kind::Meta | Kind::Idempotency | Kind::Staged => "KV",
    };
    let entries: Vec<Value> = page.shown.iter().zip(waiting).map(entry).collect();
    let mut body = json!({name: entries});
    if page.more {
        body["More"] = true.into();
    }
    Fate::Answered(200, body)
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("the core writes JSON")
}
