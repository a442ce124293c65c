//! Bodies as requests of the core, and what other checkers want to know of them.

use crate::history::{Endpoint, Moment, Operation};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::limits::{LIST_ENTRIES_DEFAULT, Limits};
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use serde_json::Value;

/// What was asked, as the model takes it.
#[derive(Clone, Debug)]
pub enum Ask {
    /// One atomic request.
    Db(Box<Request>),
    /// A look at one key until its version is not this one.
    Watch {
        /// The key's cell.
        key: Cell,
        /// The version that the client knew.
        seen: u64,
    },
    /// A page of a name space.
    List {
        /// The name space.
        kind: Kind,
        /// Only ids that begin with this …
        prefix: String,
        /// … and come after this.
        after: String,
        /// At most so many.
        entries_max: usize,
    },
}

/// An operation whose body the contract does not allow: the history is of no use then.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the operation can't be judged: {0}")]
pub struct NotAsked(String);

impl Ask {
    /// Reads an operation's body.
    ///
    /// # Errors
    /// [`NotAsked`] where a server would have answered 400.
    pub fn of(operation: &Operation) -> Result<Self, NotAsked> {
        let refuse = |problem: String| NotAsked(format!("{problem} in {}", operation.body));
        let account = Account::new(&operation.account).map_err(|error| refuse(error.to_string()))?;
        let body = &operation.body;
        Ok(match operation.endpoint {
            Endpoint::Db => {
                let request = Request::new(account, draft(body), &Limits::default());
                Self::Db(Box::new(request.map_err(|error| refuse(error.to_string()))?))
            }
            Endpoint::Watch => {
                let id = body["ID"].as_str().ok_or_else(|| refuse("no ID".into()))?;
                let seen = body["Version"].as_u64().unwrap_or(0);
                Self::Watch { key: Cell::new(&account, Kind::Value, id), seen }
            }
            Endpoint::List => Self::List {
                kind: match body["Kind"].as_str() {
                    None | Some("KV") => Kind::Value,
                    Some("Counters") => Kind::Counter,
                    Some("Locks") => Kind::Lock,
                    Some(kind) => return Err(refuse(format!("unknown Kind {kind}"))),
                },
                prefix: text(&body["Prefix"]).unwrap_or_default(),
                after: text(&body["After"]).unwrap_or_default(),
                entries_max: body["Limit"].as_u64().map_or(LIST_ENTRIES_DEFAULT, |limit| limit as usize),
            },
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The entries of an array, none where there is no such field.
pub(crate) fn entries<'a>(body: &'a Value, field: &str) -> &'a [Value] {
    body[field].as_array().map_or(&[], Vec::as_slice)
}

/// A handle, as a number or as a string of its digits.
fn handle(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn draft(body: &Value) -> Draft {
    let number = |field: &str| body[field].as_u64();
    let atomic = |entry: &Value| AtomicDraft {
        key: text(&entry["Key"]).unwrap_or_default(),
        add: entry["Add"].as_i64(),
        set: entry["Set"].as_i64(),
        delete: entry["Delete"] == true,
        if_eq: entry["IfEq"].as_i64(),
    };
    let set = |entry: &Value| SetDraft {
        key: text(&entry["Key"]).unwrap_or_default(),
        value: entry.get("Value").map(|value| value.to_string().into()),
        delete: entry["Delete"] == true,
        ttl_s: entry["TTL"].as_u64(),
        if_version: entry["IfVersion"].as_u64(),
    };
    Draft {
        idempotency_ids: entries(body, "IdempotencyIDs").iter().filter_map(text).collect(),
        idempotency_ttl_s: number("IdempotencyTTL"),
        unlock_id: text(&body["UnlockID"]),
        unlock: handle(&body["Unlock"]),
        lock_id: text(&body["LockID"]),
        lock_dur_s: number("LockDur"),
        lock_wait_s: number("LockWait"),
        lock_owner: text(&body["LockOwner"]),
        atomic: entries(body, "Atomic").iter().map(atomic).collect(),
        kv_set: entries(body, "KVSet").iter().map(set).collect(),
        kv_get: entries(body, "KVGet").iter().filter_map(|get| text(&get["Key"])).collect(),
    }
}

/// What a request does with a lock, in the words of its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockAsk<'a> {
    /// The lock to take or extend.
    pub(crate) lock: Option<&'a str>,
    /// The lock to give back or extend, and its handle.
    pub(crate) held: Option<(&'a str, u64)>,
    /// The lease, seconds.
    pub(crate) dur_s: u64,
    /// The wait, seconds.
    pub(crate) wait_s: u64,
}

impl<'a> LockAsk<'a> {
    pub(crate) fn of(operation: &'a Operation) -> Option<Self> {
        let body = &operation.body;
        let (lock, unlock) = (body["LockID"].as_str(), body["UnlockID"].as_str());
        let is_about_locks = operation.endpoint == Endpoint::Db && (lock.is_some() || unlock.is_some());
        is_about_locks.then(|| Self {
            lock,
            held: unlock.map(|id| (id, handle(&body["Unlock"]).unwrap_or(0))),
            dur_s: body["LockDur"].as_u64().unwrap_or(0),
            wait_s: body["LockWait"].as_u64().unwrap_or(0),
        })
    }

    pub(crate) fn is_extend(&self) -> bool {
        self.lock.is_some() && self.held.map(|(id, _)| id) == self.lock
    }

    /// The lock that it takes.
    pub(crate) fn wanted(&self) -> Option<&'a str> {
        self.lock.filter(|_| !self.is_extend())
    }
}

/// Until when a request may have waited for its lock, whether its client was there or not.
pub(crate) fn may_wait_till_us(operation: &Operation) -> Moment {
    let wait_s = LockAsk::of(operation).map_or(0, |ask| ask.wait_s);
    operation.ended_us().max(operation.called_us + wait_s * 1_000_000)
}
