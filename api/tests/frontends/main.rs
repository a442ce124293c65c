//! Several frontends over one database, as processes, under load and under faults: a lock excludes
//! across them, nothing that was answered is lost or done twice whatever dies, nobody sleeps over a
//! change, a frontend that stalls holds the others up little, and clocks that are wrong agree on leases.
//!
//! The database is a Postgres, or with `DRAGON_TEST_STORE=foundationdb` a FoundationDB cluster.
//! `DRAGON_TEST_FAULT_ROUNDS` makes the faults more, `DRAGON_TEST_PROGRAM` names another build.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod client;
mod clocks;
mod cluster;
mod database;
mod exclusion;
mod faults;
mod load;
mod stalls;
#[allow(dead_code, unused_imports, reason = "it is the black-box tests', and a part of it is of use here")]
#[path = "../blackbox/support/mod.rs"]
mod support;
