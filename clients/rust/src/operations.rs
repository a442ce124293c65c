//! What a request does to one counter or value.

use crate::Error;
use serde::Serialize;
use serde::ser::{Error as _, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::time::Duration;

/// A change of a counter, or a look at it. A counter that does not exist is 0.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[must_use = "it does nothing until it is part of a request"]
pub struct Count {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    add: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    delete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_eq: Option<i64>,
}

impl Count {
    /// Reads it.
    pub fn read(counter: impl Into<String>) -> Self {
        Self { key: counter.into(), add: None, set: None, delete: false, if_eq: None }
    }

    /// Adds to it. The request is refused when the sum leaves the signed 64-bit range.
    pub fn add(counter: impl Into<String>, amount: i64) -> Self {
        Self { add: Some(amount), ..Self::read(counter) }
    }

    /// Sets it.
    pub fn set(counter: impl Into<String>, value: i64) -> Self {
        Self { set: Some(value), ..Self::read(counter) }
    }

    /// Removes it.
    pub fn delete(counter: impl Into<String>) -> Self {
        Self { delete: true, ..Self::read(counter) }
    }

    /// Refuses the request unless the counter was this before it.
    pub fn if_equal(self, value: i64) -> Self {
        Self { if_eq: Some(value), ..self }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.add.is_none() && self.set.is_none() && !self.delete
    }
}

/// A change of a value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[must_use = "it does nothing until it is part of a request"]
pub struct Set {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    delete: bool,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none", serialize_with = "whole_seconds")]
    ttl: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_version: Option<u64>,
}

impl Set {
    /// Sets it, written as JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it can't be written as JSON.
    pub fn json<T: Serialize + ?Sized>(key: impl Into<String>, value: &T) -> Result<Self, Error> {
        let key = key.into();
        match to_raw_value(value) {
            Ok(value) => Ok(Self::raw(key, value)),
            Err(error) => Err(Error::Invalid(format!("the value of {key:?}: {error}"))),
        }
    }

    /// Sets it to this JSON, byte for byte.
    pub fn raw(key: impl Into<String>, value: Box<RawValue>) -> Self {
        Self { key: key.into(), value: Some(value), delete: false, ttl: None, if_version: None }
    }

    /// Deletes it.
    pub fn delete(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, delete: true, ttl: None, if_version: None }
    }

    /// When the key expires: after 1 s to 100 years. Without it the key stays, also where an earlier write gave a time.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Refuses the request unless the key had this version before it; 0: it must not exist.
    pub fn if_version(self, version: u64) -> Self {
        Self { if_version: Some(version), ..self }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Get {
    pub(crate) key: String,
}

/// Writes a duration as the contract has it.
pub(crate) fn whole_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        None => serializer.serialize_none(),
        Some(duration) if duration.subsec_nanos() == 0 => serializer.serialize_u64(duration.as_secs()),
        Some(duration) => Err(S::Error::custom(format!("{duration:?} is no whole number of seconds"))),
    }
}
