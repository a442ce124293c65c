//! The client for Rust programs (`clients/rust`) against the real program, in part by way of a proxy that loses answers and
//! cuts connections. All tests of it that need a server are here, since Cargo tells the program's path to this package alone.
//!
//! Tests wait for events, not for time to pass, save where a lease has to run out; of times only those orders are
//! asserted that safety rests on.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod absurd;
mod acquiring;
mod answers;
mod breaking_off;
mod encrypted;
mod exclusion;
mod gateways;
mod lists;
mod locks;
mod place;
mod proxies;
mod proxy;
mod releasing;
mod requests;
mod scripted;
#[allow(dead_code, unused_imports, reason = "it is the black-box tests', and a part of it is of use here")]
#[path = "../blackbox/support/mod.rs"]
mod support;
mod values;
mod watches;
