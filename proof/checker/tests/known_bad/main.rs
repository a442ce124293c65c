//! Histories that are known to be bad, each beside its good twin: every checker can fail, and for the right reason.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod counters;
mod idempotency;
mod leases;
mod linearizability;
mod locks;
mod story;
mod watches;
