//! Telling histories in few words. Times are milliseconds here.

use dragon_checker::history::{Disturbance, Endpoint, History, Operation, Outcome, StoreClock};
use dragon_checker::{Expectations, Report, check};
use serde_json::Value;

/// The store's time at moment 0: the beginning of a second.
pub const ZERO_S: u64 = 1_700_000_000;

pub struct Story {
    history: History,
}

impl Story {
    pub fn new() -> Self {
        let zero_ms = ZERO_S * 1_000;
        Self {
            history: History {
                clock: StoreClock { zero_ms_min: zero_ms, zero_ms_max: zero_ms },
                disturbances: Vec::new(),
                operations: Vec::new(),
                ended_us: 1_000_000_000,
            },
        }
    }

    fn push(mut self, called_ms: u64, endpoint: Endpoint, body: Value, outcome: Outcome) -> Self {
        let client = self.history.operations.len() as u64;
        self.history.operations.push(Operation {
            client,
            frontend: 0,
            incarnation: 0,
            account: "a".into(),
            endpoint,
            body,
            called_us: called_ms * 1_000,
            queued_us: None,
            outcome,
        });
        self
    }

    /// A request that was answered.
    pub fn db(self, times_ms: (u64, u64), body: Value, status: u16, answer: Value) -> Self {
        self.told(times_ms, Endpoint::Db, body, status, answer)
    }

    pub fn told(
        self,
        (called_ms, returned_ms): (u64, u64),
        endpoint: Endpoint,
        body: Value,
        status: u16,
        answer: Value,
    ) -> Self {
        let outcome = Outcome::Answered { returned_us: returned_ms * 1_000, status, body: answer };
        self.push(called_ms, endpoint, body, outcome)
    }

    /// A request whose fate nobody knows.
    pub fn lost(self, (called_ms, left_ms): (u64, u64), body: Value) -> Self {
        self.push(called_ms, Endpoint::Db, body, Outcome::Unknown { left_us: left_ms * 1_000 })
    }

    /// A request of which the server said that it was not applied.
    pub fn refused(self, (called_ms, returned_ms): (u64, u64), body: Value) -> Self {
        self.push(called_ms, Endpoint::Db, body, Outcome::NotApplied { returned_us: returned_ms * 1_000 })
    }

    /// The last one was seen in its queue at this time.
    pub fn queued_at(mut self, queued_ms: u64) -> Self {
        self.history.operations.last_mut().unwrap().queued_us = Some(queued_ms * 1_000);
        self
    }

    /// The last one was of this client.
    pub fn by(mut self, client: u64) -> Self {
        self.history.operations.last_mut().unwrap().client = client;
        self
    }

    pub fn disturbed(mut self, (begun_ms, ended_ms): (u64, u64)) -> Self {
        let (begun_us, ended_us) = (begun_ms * 1_000, ended_ms * 1_000);
        self.history.disturbances.push(Disturbance { what: "something".into(), begun_us, ended_us });
        self
    }

    /// The store's clock may be off by so much, both ways.
    pub fn clock_off_by(mut self, off_ms: u64) -> Self {
        self.history.clock.zero_ms_min -= off_ms;
        self.history.clock.zero_ms_max += off_ms;
        self
    }

    pub fn report(&self) -> Report {
        check(&self.history, &Expectations { grace_us: 2_000_000 })
    }

    pub fn is_clean(&self) -> Report {
        let report = self.report();
        assert!(report.is_clean(), "{report:#?}");
        report
    }

    /// It is bad, and this checker says so.
    pub fn is_refused_by(&self, checker: &str) {
        let report = self.report();
        assert!(report.undecided.is_empty());
        let found: Vec<&str> = report.violations.iter().map(|violation| violation.checker).collect();
        assert!(found.contains(&checker), "{checker} is not among {found:?}: {report:#?}");
    }
}
