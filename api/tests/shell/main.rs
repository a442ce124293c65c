//! The commands for shells, as processes against a real server: what they print, how they end, and that a command under a lock is
//! dead before the lock can pass on.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod data;
mod lock;
mod partition;
#[path = "../common/server.rs"]
mod server;
mod user;
