//! The scenarios, one a file. Each checks every answer, and at its end what the server holds.

pub mod counter;
pub mod echo;
pub mod idle;
pub mod kv;
pub mod lock_crowd;
pub mod lock_pairs;
pub mod watch_wake;
pub mod writes;
