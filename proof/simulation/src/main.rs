//! Deterministic simulation of waiters, lanes and core.
fn main() {}
