//! Answers as the core's verdicts make them, to be compared with those that clients got. What depends on the exact
//! time is left out on both sides.

use bytes::Bytes;
use dragon_core::cell::Cell;
use dragon_core::layout;
use dragon_core::verdict::{Rejection, Verdict};
use serde_json::{Map, Value, json};

/// The status and body of a verdict; `None` for verdicts that no client is told of in a run.
pub(crate) fn answer(verdict: &Verdict) -> Option<(u16, Value)> {
    let parsed = |json: &Bytes| serde_json::from_slice::<Value>(json).ok();
    let refusal = match verdict {
        Verdict::Applied(applied) => return Some((200, without_times(&parsed(&applied.answer)?))),
        Verdict::Blocked(blocked) => {
            let mut refusal = json!({"Code": "lock_timeout", "Till": 0});
            if !blocked.owner.is_empty() {
                refusal["Owner"] = String::from_utf8_lossy(&blocked.owner).into();
            }
            refusal
        }
        Verdict::Rejected(rejection) => match rejection {
            Rejection::DuplicateRequest { id, response, same_request } => {
                let mut refusal = json!({"Code": "duplicate_request", "ID": id, "SameRequest": same_request});
                if let Some(response) = response {
                    refusal["Response"] = parsed(response)?;
                }
                refusal
            }
            Rejection::NotLocked { id } => json!({"Code": "not_locked", "ID": id}),
            Rejection::VersionMismatch { key, version } => {
                json!({"Code": "precondition_failed", "Key": key, "Version": version})
            }
            Rejection::ValueMismatch { key, value } => {
                json!({"Code": "precondition_failed", "Key": key, "Value": value})
            }
            Rejection::CounterOverflow { key } => json!({"Code": "counter_overflow", "Key": key}),
            Rejection::LockTimeout { .. } | Rejection::Replacing | Rejection::AnswerTooLarge { .. } => {
                return None;
            }
        },
    };
    Some((409, without_times(&refusal)))
}

/// A body with any whole number where it tells the time, and without the sentence for people.
pub(crate) fn without_times(body: &Value) -> Value {
    let forget = |fields: &mut Map<String, Value>| {
        if let Some(till) = fields.get_mut("Till").filter(|till| till.is_u64()) {
            *till = 0.into();
        }
    };
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("Message");
        forget(fields);
        if let Some(Value::Object(response)) = fields.get_mut("Response") {
            forget(response);
        }
    }
    body
}

pub(crate) fn is_lock_timeout(answer: Option<(u16, &Value)>) -> bool {
    answer.is_some_and(|(status, body)| status == 409 && body["Code"] == "lock_timeout")
}

/// Whether an answer tells its request's revision.
pub(crate) fn has_version(answer: &Bytes) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|answer| answer["Version"].is_u64())
}

/// The handle of the lock that the request took.
pub(crate) fn granted(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Applied(applied) => applied.granted.map(|granted| granted.handle),
        Verdict::Blocked(_) | Verdict::Rejected(_) => None,
    }
}

/// A value as reads, watches and lists show it.
pub(crate) fn value_entry(cell: &Cell, row: Option<&Bytes>) -> Value {
    let Some(row) = row else { return json!({"Key": cell.id(), "Version": 0}) };
    let version = layout::header(cell, row).map_or(0, |header| header.revision);
    let value: Value = serde_json::from_slice(&layout::value(row)).unwrap_or_default();
    json!({"Key": cell.id(), "Version": version, "Value": value})
}

/// A counter as lists show it.
pub(crate) fn counter_entry(cell: &Cell, row: &Bytes) -> Value {
    json!({"Key": cell.id(), "Value": layout::read_counter(cell, Some(row)).unwrap_or(0)})
}

/// Whether a list shows this lock as it is. How many wait, and since when it is held, is not in the rows alone.
pub(crate) fn is_lock_entry(cell: &Cell, row: &Bytes, entry: &Value) -> bool {
    layout::read_lock(cell, row).is_ok_and(|(_, lock)| {
        entry["Lock"] == lock.handle
            && entry["Owner"].as_str().unwrap_or_default().as_bytes() == lock.owner.as_ref()
    })
}
