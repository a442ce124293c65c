//! `POST /list/{account}`.

use super::db::{CounterState, ValueState};
use dragon_core::cell::Kind;
use poem_openapi::Object;
use serde::{Deserialize, Serialize};

/// One page of a name space, in key order (bytes).
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none, nullable_all)]
pub struct ListRequest {
    /// Only keys that begin with this, at most 512 bytes of UTF-8.
    #[oai(validator(max_length = 512, pattern = r"^[^\x00]*$"))]
    pub prefix: Option<String>,
    /// Only keys after this one, at most 512 bytes of UTF-8: the last key of the page before.
    #[oai(validator(max_length = 512, pattern = r"^[^\x00]*$"))]
    pub after: Option<String>,
    /// At most so many entries; 100 when not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    pub limit: Option<u64>,
    /// Which name space; values when not given.
    pub kind: Option<ListKind>,
}

/// A name space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum ListKind {
    /// Values
    #[default]
    #[serde(rename = "KV")]
    Values,
    /// Counters
    Counters,
    /// The locks that are held now
    Locks,
}

impl From<ListKind> for Kind {
    fn from(kind: ListKind) -> Self {
        match kind {
            ListKind::Values => Self::Value,
            ListKind::Counters => Self::Counter,
            ListKind::Locks => Self::Lock,
        }
    }
}

/// A page: the one of `KV`, `Counters` and `Locks` that was asked for, and whether there is more.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct ListAnswer {
    /// The values.
    #[oai(rename = "KV")]
    pub kv: Option<Vec<ValueState>>,
    /// The counters.
    pub counters: Option<Vec<CounterState>>,
    /// The locks that are held.
    pub locks: Option<Vec<LockState>>,
    /// True when there is more after the last entry; else absent.
    pub more: Option<bool>,
}

/// A lock that is held.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct LockState {
    /// The lock.
    #[oai(rename = "ID")]
    pub id: String,
    /// Its handle.
    pub lock: u64,
    /// When the lease ends, in Unix seconds, rounded down.
    pub till: u64,
    /// When it was granted, in Unix seconds, rounded down; absent where the version that granted it did not record that.
    pub since: Option<u64>,
    /// Who holds it, when the holder said so.
    pub owner: Option<String>,
    /// How many requests wait for it at the server that answers.
    pub waiting: u64,
}
