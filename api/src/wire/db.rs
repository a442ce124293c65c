//! `POST /db/{account}`.

use super::object::objects;
use super::scalar::{Handle, RawJson, Version, present};
use dragon_core::request::{AtomicDraft, Draft, SetDraft};
use poem_openapi::Object;
use serde::Deserialize;

/// One atomic request: all of it happens, durably and at one moment in the account's order, or none
/// of it does. `null` is the same as absent, except in `Value`.
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[oai(rename = "TransactRequest", rename_all = "PascalCase", skip_serializing_if_is_none, nullable_all)]
pub struct DbRequest {
    /// Refuse the request if any of these was used before; remember them, with the answer, if it is
    /// applied. Each is 1 to 512 bytes of UTF-8 without NUL; none may be given twice.
    #[serde(rename = "IdempotencyIDs")]
    #[oai(
        rename = "IdempotencyIDs",
        validator(
            max_items = 100,
            unique_items = true,
            min_length = 1,
            max_length = 512,
            pattern = r"^[^\x00]*$"
        )
    )]
    pub idempotency_ids: Option<Vec<String>>,
    /// For how many seconds the ids are remembered; 86400 when not given.
    #[serde(rename = "IdempotencyTTL")]
    #[oai(rename = "IdempotencyTTL", validator(minimum(value = "1"), maximum(value = "2592000")))]
    pub idempotency_ttl: Option<u64>,
    /// The lock to give back, 1 to 512 bytes of UTF-8 without NUL. With the same `LockID`, the lock to extend; with another one, the lock to
    /// pass on from.
    #[serde(rename = "UnlockID")]
    #[oai(rename = "UnlockID", validator(min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"))]
    pub unlock_id: Option<String>,
    /// The handle that the lock `UnlockID` was granted with, required with it. A string of its digits is taken as well, for
    /// languages whose numbers can't hold it.
    pub unlock: Option<Handle>,
    /// The lock to take, 1 to 512 bytes of UTF-8 without NUL. The rest of the request is applied in the same instant.
    #[serde(rename = "LockID")]
    #[oai(rename = "LockID", validator(min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"))]
    pub lock_id: Option<String>,
    /// The lease in seconds, required with `LockID`. 0 only checks that an extended lock is still held.
    #[oai(validator(minimum(value = "0"), maximum(value = "86400")))]
    pub lock_dur: Option<u64>,
    /// How many seconds to wait for the lock, first come, first served; 0, the default, tries once. The client's own timeout
    /// must be longer.
    #[oai(validator(minimum(value = "0"), maximum(value = "300")))]
    pub lock_wait: Option<u64>,
    /// Who takes the lock, in at most 256 bytes; shown to those who wait for it.
    #[oai(validator(max_length = 256))]
    pub lock_owner: Option<String>,
    /// Changes of counters, in this order. `Atomic`, `KVSet` and `KVGet` may have 1000 entries together.
    #[serde(default, deserialize_with = "objects")]
    #[oai(validator(max_items = 1000))]
    pub atomic: Option<Vec<AtomicOperation>>,
    /// Changes of values. No key may be given twice.
    #[serde(rename = "KVSet", default, deserialize_with = "objects")]
    #[oai(rename = "KVSet", validator(max_items = 1000))]
    pub kv_set: Option<Vec<SetOperation>>,
    /// Values to read, as they were before this request.
    #[serde(rename = "KVGet", default, deserialize_with = "objects")]
    #[oai(rename = "KVGet", validator(max_items = 1000))]
    pub kv_get: Option<Vec<GetOperation>>,
}

/// A change of a counter: at most one of `Add`, `Set` and `Delete`; with none of them it is read. A
/// counter that does not exist is 0.
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct AtomicOperation {
    /// The counter, 1 to 512 bytes of UTF-8 without NUL.
    #[oai(validator(min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"))]
    pub key: String,
    /// Add this; below 0 it is taken off. The request is refused when the sum leaves the signed 64-bit range.
    #[oai(nullable)]
    pub add: Option<i64>,
    /// Set it to this.
    #[oai(nullable)]
    pub set: Option<i64>,
    /// Remove it.
    #[oai(nullable)]
    pub delete: Option<bool>,
    /// Refuse the request unless the counter was this before it.
    #[oai(nullable)]
    pub if_eq: Option<i64>,
}

/// A change of a value: `Value`, or `Delete`.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct SetOperation {
    /// The key, 1 to 512 bytes of UTF-8 without NUL.
    #[oai(validator(min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"))]
    pub key: String,
    /// The value to store: any JSON, `null` too, kept byte for byte; at most 1 MiB and 128 levels deep.
    #[serde(default, deserialize_with = "present")]
    pub value: Option<RawJson>,
    /// Remove the key.
    #[oai(nullable)]
    pub delete: Option<bool>,
    /// In how many seconds the key expires. Without it the key stays, also where an earlier write gave
    /// a time.
    #[serde(rename = "TTL")]
    #[oai(rename = "TTL", nullable, validator(minimum(value = "1"), maximum(value = "3153600000")))]
    pub ttl: Option<u64>,
    /// Refuse the request unless the key had this version before it; 0 = must not exist.
    #[oai(nullable)]
    pub if_version: Option<Version>,
}

/// A value to read.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[oai(rename_all = "PascalCase")]
pub struct GetOperation {
    /// The key, 1 to 512 bytes of UTF-8 without NUL.
    #[oai(validator(min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"))]
    pub key: String,
}

/// What the request did. Fields that have nothing to say are absent.
#[derive(Debug, Object)]
#[oai(rename = "TransactAnswer", rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct DbAnswer {
    /// The handle of the lock that was taken or extended: a fencing token, higher for every later grant.
    pub lock: Option<u64>,
    /// When the lease of the lock ends, in Unix seconds, rounded down.
    pub till: Option<u64>,
    /// True when the holder before this one let its lease run out; else absent.
    pub expired: Option<bool>,
    /// The counters after the change, in the request's order.
    pub atomic: Option<Vec<CounterState>>,
    /// The values read, in the request's order.
    #[oai(rename = "KV")]
    pub kv: Option<Vec<ValueState>>,
    /// The revision of this request, when it set or deleted a value or counter, or took or extended a
    /// lock.
    pub version: Option<u64>,
}

/// A counter.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase")]
pub struct CounterState {
    /// The counter.
    pub key: String,
    /// Its value.
    pub value: i64,
}

/// A value.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct ValueState {
    /// The key.
    pub key: String,
    /// The revision of its last write; 0 = it does not exist.
    pub version: u64,
    /// The value, byte for byte as it was sent; absent when the key does not exist.
    pub value: Option<RawJson>,
}

impl From<DbRequest> for Draft {
    fn from(request: DbRequest) -> Self {
        Self {
            idempotency_ids: request.idempotency_ids.unwrap_or_default(),
            idempotency_ttl_s: request.idempotency_ttl,
            unlock_id: request.unlock_id,
            unlock: request.unlock.map(|handle| handle.0),
            lock_id: request.lock_id,
            lock_dur_s: request.lock_dur,
            lock_wait_s: request.lock_wait,
            lock_owner: request.lock_owner,
            atomic: request.atomic.unwrap_or_default().into_iter().map(Into::into).collect(),
            kv_set: request.kv_set.unwrap_or_default().into_iter().map(Into::into).collect(),
            kv_get: request.kv_get.unwrap_or_default().into_iter().map(|get| get.key).collect(),
        }
    }
}

impl From<AtomicOperation> for AtomicDraft {
    fn from(operation: AtomicOperation) -> Self {
        Self {
            key: operation.key,
            add: operation.add,
            set: operation.set,
            delete: operation.delete.unwrap_or_default(),
            if_eq: operation.if_eq,
        }
    }
}

impl From<SetOperation> for SetDraft {
    fn from(operation: SetOperation) -> Self {
        Self {
            key: operation.key,
            value: operation.value.map(RawJson::into_bytes),
            delete: operation.delete.unwrap_or_default(),
            ttl_s: operation.ttl,
            if_version: operation.if_version.map(|version| version.0),
        }
    }
}
