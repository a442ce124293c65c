//! Real processes under faults.
fn main() {}
