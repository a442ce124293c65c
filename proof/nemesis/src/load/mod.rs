//! Clients that work while the system is disturbed, and record what they asked and what they were told.
//!
//! A [`Round`] puts a mix of all [`workloads`] on one fresh account; what its [`Client`]s see goes into a [`Recorder`],
//! whose operations are the history that is judged.

mod calm;
mod client;
mod course;
mod exchange;
mod last_look;
mod recorder;
mod round;
mod totals;
mod verdict;
pub mod workloads;

pub use calm::wake_all;
pub use client::{Client, Clients, Told};
pub use course::{Course, Tempo};
pub use last_look::last_look;
pub use recorder::{Asked, Pending, Recorder};
pub use round::Round;
pub use totals::Totals;
