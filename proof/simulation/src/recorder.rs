//! The history in the making.

use dragon_checker::history::{Disturbance, Moment, Operation, Outcome};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What clients and the nemesis write down.
#[derive(Debug)]
pub struct Recorder {
    zero: Instant,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    last_us: Moment,
    operations: Vec<Operation>,
    disturbances: Vec<Disturbance>,
    clients: u64,
    values: u64,
}

/// What a call came to, before it is dated.
#[derive(Clone, Debug)]
pub enum Fate {
    /// An answer: status and body.
    Answered(u16, serde_json::Value),
    /// Nothing was applied, nor will be.
    NotApplied,
    /// It may have been applied, or may still be.
    Unknown,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub struct Entry(usize);

impl Notes {
    /// A moment later than all before, though the simulated time may stand still.
    fn now_us(&mut self, zero: Instant) -> Moment {
        self.last_us = (self.last_us + 1).max(zero.elapsed().as_micros() as Moment);
        self.last_us
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self { zero: Instant::now(), notes: Mutex::default() }
    }
}

impl Recorder {
    /// Now, in microseconds since the history began.
    pub fn now_us(&self) -> Moment {
        self.notes.lock().now_us(self.zero)
    }

    /// The number of a client that was not there before.
    pub fn new_client(&self) -> u64 {
        let mut notes = self.notes.lock();
        notes.clients += 1;
        notes.clients
    }

    /// A value that nobody wrote before.
    pub fn new_value(&self) -> String {
        let mut notes = self.notes.lock();
        notes.values += 1;
        format!("v{}", notes.values)
    }

    /// Writes down that an operation begins. The moment of its call and its outcome are filled in here.
    pub fn begin(&self, operation: Operation) -> Entry {
        let mut notes = self.notes.lock();
        let called_us = notes.now_us(self.zero);
        let outcome = Outcome::Unknown { left_us: called_us };
        notes.operations.push(Operation { called_us, outcome, ..operation });
        Entry(notes.operations.len() - 1)
    }

    /// Writes down that an operation was seen in its lock's queue.
    pub fn note_queued(&self, entry: Entry) {
        let mut notes = self.notes.lock();
        let now_us = notes.now_us(self.zero);
        notes.operations[entry.0].queued_us = Some(now_us);
    }

    /// Writes down what became of an operation.
    pub fn end(&self, entry: Entry, fate: &Fate) {
        let mut notes = self.notes.lock();
        let now_us = notes.now_us(self.zero);
        notes.operations[entry.0].outcome = match fate {
            Fate::Answered(status, body) => {
                Outcome::Answered { returned_us: now_us, status: *status, body: body.clone() }
            }
            Fate::NotApplied => Outcome::NotApplied { returned_us: now_us },
            Fate::Unknown => Outcome::Unknown { left_us: now_us },
        };
    }

    /// Writes down what was done to the system, from that moment till now.
    pub fn disturb(&self, what: &str, begun_us: Moment) {
        let mut notes = self.notes.lock();
        let ended_us = notes.now_us(self.zero);
        notes.disturbances.push(Disturbance { what: what.to_owned(), begun_us, ended_us });
    }

    /// All that was written down.
    pub fn take(&self) -> (Vec<Operation>, Vec<Disturbance>) {
        let mut notes = self.notes.lock();
        (std::mem::take(&mut notes.operations), std::mem::take(&mut notes.disturbances))
    }
}
