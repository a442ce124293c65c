//! What the workers of one run count together. One thread runs them all, so cells are enough.

use crate::drive::Unit;
use crate::latency::Latencies;
use crate::live;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing counts yet.
    WarmUp,
    /// Everything counts.
    Measure,
    /// Workers end after the unit that they are in.
    Stop,
}

/// The counts.
pub struct Tally {
    pub phase: Cell<Phase>,
    pub units: Cell<u64>,
    pub operations: Cell<u64>,
    pub bytes: Cell<u64>,
    pub latencies: RefCell<Latencies>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            phase: Cell::new(Phase::WarmUp),
            units: Cell::new(0),
            operations: Cell::new(0),
            bytes: Cell::new(0),
            latencies: RefCell::default(),
        }
    }

    /// Notes a unit that counts.
    pub fn count(&self, unit: Unit) {
        self.units.set(self.units.get() + 1);
        self.operations.set(self.operations.get() + u64::from(unit.operations));
        self.bytes.set(self.bytes.get() + unit.bytes);
        live::count();
    }

    /// Notes how long a unit took that counts.
    pub fn time(&self, latency: Duration) {
        self.latencies.borrow_mut().record(latency);
    }
}
