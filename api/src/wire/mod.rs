//! The JSON shapes of the contract. Requests are read from bytes straight into these types; the same
//! types describe themselves in the OpenAPI document, so that the two can't differ. Answers are
//! written by the core; their shapes here describe them and read them back in tests.

pub mod db;
pub mod list;
pub mod object;
pub mod scalar;
pub mod watch;
