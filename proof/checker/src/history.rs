//! What clients asked, when, and what they were told: the evidence that the checkers judge.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, Write};

/// Microseconds since the history began, by one monotonic clock that all clients share.
pub type Moment = u64;

/// Which endpoint was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// `POST /db/{account}`
    Db,
    /// `POST /watch/{account}`
    Watch,
    /// `POST /list/{account}`
    List,
}

/// One request of one client. A client has one operation under way at a time; one that gave up on an operation goes on
/// under another number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The client, or its later self.
    pub client: u64,
    /// The frontend that was asked.
    pub frontend: usize,
    /// How often that frontend had been started by then: lock queues do not outlive it.
    pub incarnation: u64,
    /// The account.
    pub account: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The body, as it was sent.
    pub body: Value,
    /// When it was sent: no later than any byte of it.
    pub called_us: Moment,
    /// When it was seen, by the `Waiting` of a list, to be in its lock's queue at this frontend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_us: Option<Moment>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a client knows of the fate of its request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was answered 200, 204 or 409: whatever it did, it did between call and return.
    Answered {
        /// When the answer was there: no earlier than its last byte.
        returned_us: Moment,
        /// The HTTP status.
        status: u16,
        /// The body; null where there was none.
        body: Value,
    },
    /// The server said that nothing was applied and nothing will be (503 `unavailable`, or no connection).
    NotApplied {
        /// When that was known.
        returned_us: Moment,
    },
    /// The connection broke, the client hung up, or the server said `outcome_unknown`: it may have been applied, and
    /// may still be.
    Unknown {
        /// When the client stopped waiting.
        left_us: Moment,
    },
}

/// Something that was done to the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbance {
    /// What, in a few words.
    pub what: String,
    /// When it began.
    pub begun_us: Moment,
    /// When it was over: the system is expected to work as usual a while later.
    pub ended_us: Moment,
}

/// The store's clock as seen from the history's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreClock {
    /// The earliest store's time that moment 0 can have been, Unix milliseconds.
    pub zero_ms_min: u64,
    /// The latest store's time that moment 0 can have been, where the clock ran evenly; where it was made to jump, with
    /// all jumps ahead added.
    pub zero_ms_max: u64,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The store's clock.
    pub clock: StoreClock,
    /// What was done to the system.
    pub disturbances: Vec<Disturbance>,
    /// All operations, in the order of their calls.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// When the system was left alone, had recovered, and the last reads of every account had been made.
    pub ended_us: Moment,
}

impl Operation {
    /// When its client was done with it; `None` where its effect has no such bound.
    #[must_use]
    pub fn returned_us(&self) -> Option<Moment> {
        match self.outcome {
            Outcome::Answered { returned_us, .. } | Outcome::NotApplied { returned_us } => Some(returned_us),
            Outcome::Unknown { .. } => None,
        }
    }

    /// When its client was told, or went.
    #[must_use]
    pub fn ended_us(&self) -> Moment {
        match self.outcome {
            Outcome::Answered { returned_us, .. } | Outcome::NotApplied { returned_us } => returned_us,
            Outcome::Unknown { left_us } => left_us,
        }
    }

    /// The answer's status and body, if there was one.
    #[must_use]
    pub fn answer(&self) -> Option<(u16, &Value)> {
        match &self.outcome {
            Outcome::Answered { status, body, .. } => Some((*status, body)),
            Outcome::NotApplied { .. } | Outcome::Unknown { .. } => None,
        }
    }

    /// The body of its 200, if that was the answer.
    #[must_use]
    pub fn applied(&self) -> Option<&Value> {
        self.answer().filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }
}

impl History {
    /// Writes it as lines of JSON: the head first, then an operation a line.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, mut writer: impl Write) -> std::io::Result<()> {
        let head = Self { operations: Vec::new(), ..self.clone() };
        serde_json::to_writer(&mut writer, &head)?;
        writeln!(writer)?;
        for operation in &self.operations {
            serde_json::to_writer(&mut writer, operation)?;
            writeln!(writer)?;
        }
        writer.flush()
    }

    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    /// The reader's, and lines that are no such history.
    pub fn read(reader: impl BufRead) -> std::io::Result<Self> {
        let mut lines = reader.lines();
        let head = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
        let mut history: Self = serde_json::from_str(&head)?;
        for line in lines {
            history.operations.push(serde_json::from_str(&line?)?);
        }
        Ok(history)
    }
}
