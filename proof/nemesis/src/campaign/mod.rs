//! Campaigns: a cluster under load, one fault after another, and the verdict on what its clients were told.

mod clock;
mod judge;
mod matrix;
mod run;
mod table;
mod tally;

pub use judge::{GRACE_US, read_and_check};
pub use matrix::{arguments, matrix};
pub use run::{Plan, run};
pub use table::table;
pub use tally::Tally;
