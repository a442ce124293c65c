//! The record of what all clients asked and were told.

use dragon_checker::history::{Endpoint, Moment, Operation, Outcome, StoreClock};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where operations are recorded, by one clock. Clones share both.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    zero: Instant,
    machine_clock: StoreClock,
    clients: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By client, for each has one under way at a time.
    pending: HashMap<u64, Operation>,
    done: Vec<Operation>,
    broken: Vec<String>,
}

/// What a client is about to ask, and of whom.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The client's number, from [`Recorder::new_client`].
    pub client: u64,
    /// The frontend, counted from 0.
    pub frontend: usize,
    /// That frontend's incarnation.
    pub incarnation: u64,
    /// The account.
    pub account: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The body.
    pub body: Value,
}

/// An operation under way. One that is dropped counts as unknown from then on.
#[derive(Debug)]
#[must_use = "an operation that is dropped is recorded as unknown"]
pub struct Pending {
    recorder: Recorder,
    client: u64,
    called_us: Moment,
}

impl Recorder {
    /// A new record: moment 0 is now.
    #[must_use]
    pub fn start() -> Self {
        let zero_ms_min = unix_ms();
        let zero = Instant::now();
        let machine_clock = StoreClock { zero_ms_min, zero_ms_max: unix_ms() + 1 };
        let (clients, state) = (AtomicU64::new(1), Mutex::default());
        Self(Arc::new(Shared { zero, machine_clock, clients, state }))
    }

    /// The moment that is now, in microseconds.
    #[must_use]
    pub fn now_us(&self) -> Moment {
        Moment::try_from(self.0.zero.elapsed().as_micros()).unwrap_or(Moment::MAX)
    }

    /// This machine's clock as seen from the record's, at its beginning and now: the store's, where the store is on this
    /// machine and nobody turns its clock.
    #[must_use]
    pub fn machine_clock(&self) -> StoreClock {
        let begun = self.0.machine_clock;
        // It may have been set meanwhile.
        let zero_ms = unix_ms().saturating_sub(self.now_us() / 1_000);
        StoreClock {
            zero_ms_min: begun.zero_ms_min.min(zero_ms.saturating_sub(1)),
            zero_ms_max: begun.zero_ms_max.max(zero_ms + 1),
        }
    }

    /// A number that no client has had.
    #[must_use]
    pub fn new_client(&self) -> u64 {
        self.0.clients.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that an operation begins now: called before the first byte is sent.
    pub fn begin(&self, asked: Asked) -> Pending {
        let called_us = self.now_us();
        let Asked { client, frontend, incarnation, account, endpoint, body } = asked;
        let outcome = Outcome::Unknown { left_us: called_us };
        let operation = Operation {
            client,
            frontend,
            incarnation,
            account,
            endpoint,
            body,
            called_us,
            queued_us: None,
            outcome,
        };
        self.0.state.lock().pending.insert(client, operation);
        Pending { recorder: self.clone(), client, called_us }
    }

    /// Notes that the operation which this client has under way was seen in its lock's queue at this moment, by a list
    /// of the same frontend in this incarnation. False, and nothing is noted, where none is under way any more or
    /// where it was sent to another incarnation.
    pub fn queued(&self, client: u64, seen_us: Moment, incarnation: u64) -> bool {
        let mut state = self.0.state.lock();
        let Some(operation) = state.pending.get_mut(&client) else { return false };
        if operation.incarnation != incarnation {
            return false;
        }
        operation.queued_us = Some(seen_us);
        true
    }

    /// Notes an answer that the contract does not allow, whatever the history says.
    pub fn break_promise(&self, text: String) {
        self.0.state.lock().broken.push(text);
    }

    /// The answers that the contract does not allow, in the order in which they came.
    #[must_use]
    pub fn broken_promises(&self) -> Vec<String> {
        self.0.state.lock().broken.clone()
    }

    /// How many operations have ended so far.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.0.state.lock().done.len()
    }

    /// All operations since the beginning or the last call of this, in the order of their calls. What is still under
    /// way is unknown: its answer is not waited for, and not recorded when it comes.
    #[must_use]
    pub fn finish(&self) -> Vec<Operation> {
        let mut state = self.0.state.lock();
        let left_us = self.now_us();
        let mut operations = std::mem::take(&mut state.done);
        for (_, mut operation) in state.pending.drain() {
            operation.outcome = Outcome::Unknown { left_us };
            operations.push(operation);
        }
        drop(state);
        operations.sort_by_key(|operation| (operation.called_us, operation.client));
        operations
    }

    fn end(&self, client: u64, called_us: Moment, outcome: Outcome) {
        let mut state = self.0.state.lock();
        // After `finish` the client may have begun another one already.
        if state.pending.get(&client).is_none_or(|operation| operation.called_us != called_us) {
            return;
        }
        if let Some(mut operation) = state.pending.remove(&client) {
            operation.outcome = outcome;
            state.done.push(operation);
        }
    }
}

impl Pending {
    /// Notes what became of it.
    pub fn end(self, outcome: Outcome) {
        self.recorder.end(self.client, self.called_us, outcome);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let left_us = self.recorder.now_us();
        self.recorder.end(self.client, self.called_us, Outcome::Unknown { left_us });
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(client: u64) -> Asked {
        let (account, body) = ("a".to_owned(), json!({"KVGet": [{"Key": "k"}]}));
        Asked { client, frontend: 0, incarnation: 3, account, endpoint: Endpoint::Db, body }
    }

    #[test]
    fn what_is_dropped_or_left_is_unknown() {
        let recorder = Recorder::start();
        let (one, two, three) = (recorder.new_client(), recorder.new_client(), recorder.new_client());
        let first = recorder.begin(asked(one));
        drop(recorder.begin(asked(two)));
        let left = recorder.begin(asked(three));
        first.end(Outcome::NotApplied { returned_us: 9 });
        assert_eq!(recorder.ended(), 2);
        let operations = recorder.finish();
        left.end(Outcome::NotApplied { returned_us: 9 });
        assert_eq!(
            operations.iter().map(|operation| operation.client).collect::<Vec<_>>(),
            [one, two, three]
        );
        assert_eq!(operations[0].outcome, Outcome::NotApplied { returned_us: 9 });
        for operation in &operations[1..] {
            let Outcome::Unknown { left_us } = operation.outcome else { panic!("{operation:?}") };
            assert!(left_us >= operation.called_us);
        }
        assert!(recorder.finish().is_empty());
    }

    #[test]
    fn only_what_is_under_way_can_be_seen_in_a_queue() {
        let recorder = Recorder::start();
        let client = recorder.new_client();
        assert!(!recorder.queued(client, 1, 3));
        let pending = recorder.begin(asked(client));
        assert!(!recorder.queued(client, 1, 4), "it was sent to another incarnation");
        assert!(recorder.queued(client, 2, 3));
        pending.end(Outcome::Unknown { left_us: 5 });
        assert!(!recorder.queued(client, 6, 3));
        assert_eq!(recorder.finish()[0].queued_us, Some(2));
    }
}
