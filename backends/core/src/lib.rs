//! The rules of Cloud Dragon, and nothing else: a [`Request`](request::Request) that cannot be
//! invalid, the cells it names, and [`decide`](decide::decide), which turns a request and the state
//! of those cells into a verdict. Time is an input; there is no clock, no I/O and no async here, so
//! every decision can be replayed, and every store behaves the same.

pub mod answer;
pub mod batch;
pub mod cell;
pub mod decide;
mod fingerprint;
pub mod hash;
pub mod json;
pub mod layout;
pub mod limits;
pub mod observe;
pub mod page;
pub mod replace;
pub mod request;
pub mod verdict;

/// Milliseconds since the Unix epoch by the store's clock.
pub type UnixMs = u64;
