//! How long an answer may take.

/// What a server may take for a long-poll, 300 seconds, and some more. progenitor's own default is 15.
pub const SECONDS: u64 = 310;
