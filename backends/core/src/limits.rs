//! Every bound of the contract, its unit in its name. A bound that is a setting is a field of
//! [`Limits`]; it can be lowered but not raised above its default, which every backend can keep.

/// Longest account name, in bytes.
pub const ACCOUNT_BYTES_MAX: usize = 128;
/// Longest key, lock id or idempotency id, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest `LockOwner`, in bytes of UTF-8.
pub const OWNER_BYTES_MAX: usize = 256;
/// Largest value, in bytes of JSON as sent.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of arrays and objects in a value.
pub const VALUE_DEPTH_MAX: usize = 128;
/// Entries of `KVSet`, `KVGet` and `Atomic` together in one request.
pub const OPERATIONS_MAX: usize = 1_000;
/// Largest request body, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Largest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Idempotency ids in one request.
pub const IDEMPOTENCY_IDS_MAX: usize = 100;
/// Largest answer that is kept with an idempotency id, in bytes.
pub const KEPT_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest time an idempotency id is remembered, in seconds.
pub const IDEMPOTENCY_TTL_S_MAX: u64 = 2_592_000;
/// How long an idempotency id is remembered when the request does not say, in seconds.
pub const IDEMPOTENCY_TTL_S_DEFAULT: u64 = 86_400;
/// Longest lease of a lock, in seconds.
pub const LOCK_DUR_S_MAX: u64 = 86_400;
/// Longest wait for a lock, in seconds.
pub const LOCK_WAIT_S_MAX: u64 = 300;
/// Longest wait for a change, in seconds.
pub const WATCH_WAIT_S_MAX: u64 = 300;
/// Wait for a change when the request does not say, in seconds.
pub const WATCH_WAIT_S_DEFAULT: u64 = 60;
/// Longest TTL of a value, in seconds (100 years).
pub const VALUE_TTL_S_MAX: u64 = 3_153_600_000;
/// Largest page of a list, in entries.
pub const LIST_ENTRIES_MAX: usize = 1_000;
/// Page of a list when the request does not say, in entries.
pub const LIST_ENTRIES_DEFAULT: usize = 100;
/// Largest revision, version or handle: what a signed 64-bit database column holds.
pub const REVISION_MAX: u64 = i64::MAX as u64;
/// How far an import raises the account's revision above the content's and the account's own: handles newer than
/// the content may be in clients' hands.
pub const REVISIONS_SKIPPED: u64 = 1 << 32;
/// How long a lock whose lease ran out is remembered, so that the next holder is told, in
/// milliseconds.
pub const EXPIRED_LOCK_KEPT_MS: u64 = 86_400_000;

/// The limits that an operator may lower. Each is between 1 and its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of `KVSet`, `KVGet` and `Atomic` together in one request.
    pub operations: usize,
    /// Largest request body, in bytes.
    pub request_bytes: usize,
    /// Largest answer, in bytes.
    pub answer_bytes: usize,
    /// Largest value, in bytes of JSON as sent.
    pub value_bytes: usize,
    /// Deepest nesting of arrays and objects in a value.
    pub value_depth: usize,
    /// Longest key, lock id or idempotency id, in bytes.
    pub key_bytes: usize,
    /// Idempotency ids in one request.
    pub idempotency_ids: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: OPERATIONS_MAX,
            request_bytes: REQUEST_BYTES_MAX,
            answer_bytes: ANSWER_BYTES_MAX,
            value_bytes: VALUE_BYTES_MAX,
            value_depth: VALUE_DEPTH_MAX,
            key_bytes: KEY_BYTES_MAX,
            idempotency_ids: IDEMPOTENCY_IDS_MAX,
        }
    }
}
