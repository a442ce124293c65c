//! Checks recorded histories. Nothing here knows how a history came about: the simulation and the runs on real
//! processes hand theirs in alike.

mod ask;
mod check;
mod clues;
mod counters;
mod expected;
pub mod history;
mod holds;
mod idempotency;
mod leases;
mod linear;
mod locks;
mod model;
mod patience;
mod span;
mod state;
mod watches;

pub use check::{Expectations, LookedAt, Report, Violation, check};
