//! One atomic request.

use crate::operations::{Get, whole_seconds};
use crate::{Count, Error, Handle, Set};
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// One atomic request: all of it happens, durably and at one moment, or none of it does.
///
/// Whatever order it is built in, the server goes by: idempotency ids, unlock, lock, then every condition against the state
/// before this request, reads (also of the state before), then counters and values in the order given. All durations are
/// whole seconds; others are an [`Error::Invalid`] when the request is sent.
///
/// ```
/// use dragon_client::{Request, Set};
/// # fn main() -> Result<(), dragon_client::Error> {
/// let request = Request::new()
///     .add("orders", 1)
///     .set("limits", &vec![10, 20])?
///     .write(Set::json("leader", &"me")?.if_version(0))
///     .get("mode");
/// # drop(request); Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    #[serde(rename = "IdempotencyIDs", skip_serializing_if = "Vec::is_empty")]
    idempotency_ids: Vec<String>,
    #[serde(
        rename = "IdempotencyTTL",
        skip_serializing_if = "Option::is_none",
        serialize_with = "whole_seconds"
    )]
    idempotency_ttl: Option<Duration>,
    #[serde(rename = "UnlockID", skip_serializing_if = "Option::is_none")]
    unlock_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unlock: Option<Handle>,
    #[serde(rename = "LockID", skip_serializing_if = "Option::is_none")]
    lock_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "whole_seconds")]
    lock_dur: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "whole_seconds")]
    lock_wait: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_owner: Option<String>,
    #[serde(rename = "Atomic", skip_serializing_if = "Vec::is_empty")]
    counts: Vec<Count>,
    #[serde(rename = "KVSet", skip_serializing_if = "Vec::is_empty")]
    sets: Vec<Set>,
    #[serde(rename = "KVGet", skip_serializing_if = "Vec::is_empty")]
    gets: Vec<Get>,
}

impl Request {
    /// A request that asks for nothing yet, which the server would refuse.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the request if this id was used before, and remembers it if the request is applied.
    pub fn idempotency_id(mut self, id: impl Into<String>) -> Self {
        self.idempotency_ids.push(id.into());
        self
    }

    /// How long the idempotency ids are remembered: 1 s to 30 days; a day when not given. It has to be longer than the
    /// request may be sent again, or it may happen twice.
    pub fn idempotency_ttl(mut self, ttl: Duration) -> Self {
        self.idempotency_ttl = Some(ttl);
        self
    }

    /// Takes a lock for 1 s to a day. [`Account::lock`](crate::Account::lock) does it with more care.
    pub fn lock(mut self, id: impl Into<String>, lease: Duration) -> Self {
        self.lock_id = Some(id.into());
        self.lock_dur = Some(lease);
        self
    }

    /// Waits up to 300 s for the lock, instead of trying once.
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = Some(wait);
        self
    }

    /// Says who takes the lock, in at most 256 bytes.
    pub fn lock_owner(mut self, owner: impl Into<String>) -> Self {
        self.lock_owner = Some(owner.into());
        self
    }

    /// Gives a lock back, or refuses the whole request if the handle does not hold it.
    pub fn unlock(mut self, id: impl Into<String>, handle: Handle) -> Self {
        self.unlock_id = Some(id.into());
        self.unlock = Some(handle);
        self
    }

    /// Extends the lease of a lock to `lease` from now, or refuses the whole request if the handle does not hold it.
    pub fn extend(self, id: impl Into<String>, handle: Handle, lease: Duration) -> Self {
        let id = id.into();
        self.unlock(id.clone(), handle).lock(id, lease)
    }

    /// Refuses the whole request unless the handle holds the lock, whose lease stays as it is.
    pub fn only_if_locked(self, id: impl Into<String>, handle: Handle) -> Self {
        self.extend(id, handle, Duration::ZERO)
    }

    /// Adds to a counter.
    pub fn add(self, counter: impl Into<String>, amount: i64) -> Self {
        self.count(Count::add(counter, amount))
    }

    /// Reads a counter: after the changes of it that come before.
    pub fn read_counter(self, counter: impl Into<String>) -> Self {
        self.count(Count::read(counter))
    }

    /// Changes or reads a counter.
    pub fn count(mut self, count: Count) -> Self {
        self.counts.push(count);
        self
    }

    /// Sets a value, written as JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it can't be written as JSON.
    pub fn set<T: Serialize + ?Sized>(self, key: impl Into<String>, value: &T) -> Result<Self, Error> {
        Ok(self.write(Set::json(key, value)?))
    }

    /// Sets a value to this JSON, byte for byte.
    pub fn set_raw(self, key: impl Into<String>, value: Box<RawValue>) -> Self {
        self.write(Set::raw(key, value))
    }

    /// Deletes a value.
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.write(Set::delete(key))
    }

    /// Sets or deletes a value. No key may be written twice.
    pub fn write(mut self, set: Set) -> Self {
        self.sets.push(set);
        self
    }

    /// Reads a value, as it was before this request.
    pub fn get(mut self, key: impl Into<String>) -> Self {
        self.gets.push(Get { key: key.into() });
        self
    }

    /// Whether it changes nothing when it is applied.
    pub(crate) fn is_read(&self) -> bool {
        let locks = self.lock_id.is_some() || self.unlock_id.is_some();
        let counts = self.counts.iter().any(|count| !count.is_read());
        !locks && !counts && self.sets.is_empty() && self.idempotency_ids.is_empty()
    }

    pub(crate) fn has_idempotency_id(&self) -> bool {
        !self.idempotency_ids.is_empty()
    }

    pub(crate) fn names_a_lock(&self) -> bool {
        self.lock_id.is_some() || self.unlock_id.is_some()
    }

    /// How long the server may hold the answer back.
    pub(crate) fn wait(&self) -> Duration {
        self.lock_wait.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::{Count, Handle, Set};
    use serde_json::value::RawValue;
    use std::time::Duration;

    fn text(request: &Request) -> String {
        serde_json::to_string(request).unwrap()
    }

    #[test]
    fn a_request_with_everything_is_the_contracts() {
        let raw = RawValue::from_string(r#"{"b":1.0, "a":null}"#.to_owned()).unwrap();
        let request = Request::new()
            .idempotency_id("i")
            .idempotency_ttl(Duration::from_secs(60))
            .unlock("old", Handle(i64::MAX as u64))
            .lock("new", Duration::from_secs(30))
            .lock_wait(Duration::from_secs(5))
            .lock_owner("me")
            .add("n", i64::MIN)
            .count(Count::set("m", 5).if_equal(-4))
            .count(Count::delete("o"))
            .read_counter("p")
            .set_raw("r", raw)
            .write(Set::json("k", "v").unwrap().ttl(Duration::from_secs(9)).if_version(0))
            .delete("d")
            .get("g");
        assert_eq!(
            text(&request),
            concat!(
                r#"{"IdempotencyIDs":["i"],"IdempotencyTTL":60,"UnlockID":"old","Unlock":9223372036854775807,"#,
                r#""LockID":"new","LockDur":30,"LockWait":5,"LockOwner":"me","#,
                r#""Atomic":[{"Key":"n","Add":-9223372036854775808},{"Key":"m","Set":5,"IfEq":-4},{"Key":"o","Delete":true},{"Key":"p"}],"#,
                r#""KVSet":[{"Key":"r","Value":{"b":1.0, "a":null}},{"Key":"k","Value":"v","TTL":9,"IfVersion":0},{"Key":"d","Delete":true}],"#,
                r#""KVGet":[{"Key":"g"}]}"#
            )
        );
    }

    #[test]
    fn null_is_a_value() {
        let request = Request::new().set("k", &()).unwrap();
        assert_eq!(text(&request), r#"{"KVSet":[{"Key":"k","Value":null}]}"#);
    }

    #[test]
    fn extending_and_checking_name_the_lock_twice() {
        let extend = Request::new().extend("l", Handle(7), Duration::from_secs(30));
        assert_eq!(text(&extend), r#"{"UnlockID":"l","Unlock":7,"LockID":"l","LockDur":30}"#);
        let check = Request::new().only_if_locked("l", Handle(7)).add("n", 1);
        let expected =
            r#"{"UnlockID":"l","Unlock":7,"LockID":"l","LockDur":0,"Atomic":[{"Key":"n","Add":1}]}"#;
        assert_eq!(text(&check), expected);
    }

    #[test]
    fn half_a_second_is_no_duration_of_the_contract() {
        let request = Request::new().lock("l", Duration::from_millis(1_500));
        let error = serde_json::to_string(&request).unwrap_err();
        assert!(error.to_string().contains("1.5s is no whole number of seconds"), "{error}");
    }

    #[test]
    fn reads_are_told_from_writes() {
        assert!(Request::new().get("k").read_counter("n").is_read());
        let one = Duration::from_secs(1);
        let writes = [
            Request::new().add("n", 0),
            Request::new().delete("k"),
            Request::new().lock("l", one),
            Request::new().only_if_locked("l", Handle(1)).get("k"),
            Request::new().idempotency_id("i").get("k"),
        ];
        assert!(writes.iter().all(|request| !request.is_read()));
    }
}
