//! The whole contract over HTTP, against the real program: a process of its own with a data folder of
//! its own, spoken to in raw bytes. Nothing here knows the server's code.
//!
//! Each test has an account to itself, and most share one process. Tests wait for events, not for time
//! to pass, save where a lease, a TTL or a wait has to run out; no test asserts that something is fast.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod access;
mod backups;
mod commands;
mod counters;
mod drain;
mod durability;
mod errors;
mod examples;
mod formats;
mod grants;
mod hang_up;
mod hostile;
mod http;
mod idempotency;
mod leases;
mod list;
mod locks;
mod observability;
mod passing;
mod paths;
mod quotas;
mod requests;
mod service;
mod support;
mod tls;
mod traces;
mod transfer;
mod values;
mod watch;
