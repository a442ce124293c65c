//! What the server answers.

use crate::Error;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The proof of holding a lock, and a fencing token: higher for every later grant in the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Handle(pub u64);

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// When a lease ends by the store's clock, in Unix seconds, rounded down. It is for people: this machine's clock may be
/// another. How long a lock is safely held is told by [`LockGuard::held_until`](crate::LockGuard::held_until).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Till(pub u64);

impl Till {
    /// The same as a time.
    #[must_use]
    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }
}

/// What a request did.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Answer {
    /// The lock that was taken or extended.
    pub lock: Option<Handle>,
    /// When its lease ends.
    pub till: Option<Till>,
    /// Whether the holder before this one let its lease run out.
    #[serde(default)]
    pub expired: bool,
    /// The counters that were changed or read, in the request's order, as they are after it.
    #[serde(rename = "Atomic", default)]
    pub counters: Vec<CounterState>,
    /// The values that were read, in the request's order, as they were before it.
    #[serde(rename = "KV", default)]
    pub values: Vec<ValueState>,
    /// The revision of this request, when it set or deleted a value or counter, or took or extended a lock.
    pub version: Option<u64>,
    #[serde(skip)]
    pub(crate) repeated: bool,
}

impl Answer {
    /// Whether the request had been applied before, and this is what it was answered then.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The value of a counter that was changed or read; the last, where it was several times.
    #[must_use]
    pub fn counter(&self, counter: &str) -> Option<i64> {
        self.counters.iter().rev().find(|state| state.key == counter).map(|state| state.value)
    }

    /// What was read of this key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&ValueState> {
        self.values.iter().find(|state| state.key == key)
    }
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct CounterState {
    /// Its name.
    pub key: String,
    /// Its value; one that does not exist is 0.
    pub value: i64,
}

/// A key, and what it held.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ValueState {
    /// The key.
    pub key: String,
    /// The revision of its last write; 0: it does not exist.
    pub version: u64,
    /// The value, byte for byte as it was sent; absent when the key does not exist.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
}

impl ValueState {
    /// Whether the key exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.version > 0
    }

    /// The value as a Rust type; `None` when the key does not exist.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value is not such a one.
    pub fn json<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let Some(value) = &self.value else { return Ok(None) };
        let read = serde_json::from_str(value.get());
        read.map(Some).map_err(|error| Error::Invalid(format!("the value of {:?}: {error}", self.key)))
    }
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct LockState {
    /// Its name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its handle.
    pub lock: Handle,
    /// When its lease ends.
    pub till: Till,
    /// When it was granted, in Unix seconds, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Who holds it, when the holder said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How many requests wait for it, at the server that answered.
    pub waiting: u64,
}

/// Reads a field in which `null` is a value like any other, not the same as absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{Answer, Handle, Till};

    #[test]
    fn answers_are_read_to_the_byte() {
        let text = r#"{"Lock":9223372036854775807,"Till":172343434,"Expired":true,"Atomic":[{"Key":"n","Value":-9223372036854775808}],
            "KV":[{"Key":"a","Version":17,"Value":{"b":1.0, "a":12345678901234567890123}},{"Key":"b","Version":18,"Value":null},{"Key":"c","Version":0}],"Version":19}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.lock, Some(Handle(i64::MAX as u64)));
        assert_eq!(answer.till, Some(Till(172_343_434)));
        assert!(answer.expired && !answer.is_repeated());
        assert_eq!(answer.counter("n"), Some(i64::MIN));
        let raw = |key| answer.value(key).unwrap().value.as_ref().map(|value| value.get());
        assert_eq!(raw("a"), Some(r#"{"b":1.0, "a":12345678901234567890123}"#));
        assert_eq!(raw("b"), Some("null"));
        assert_eq!(raw("c"), None);
        assert_eq!(answer.value("b").unwrap().json::<Option<u8>>().unwrap(), Some(None));
        assert!(!answer.value("c").unwrap().exists());
    }

    #[test]
    fn an_answer_that_has_nothing_to_say_is_read() {
        let answer: Answer = serde_json::from_str("{}").unwrap();
        assert!(answer.version.is_none() && answer.values.is_empty() && answer.counters.is_empty());
    }
}
