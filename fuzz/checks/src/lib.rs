//! What the fuzz targets assert, as functions of bytes that panic where something does not hold. They are here, in the
//! workspace, so that an ordinary test replays the corpora; the crate above only hands them what libFuzzer makes up.

pub mod decide;
pub mod head;
pub mod import;
pub mod layout;
pub mod request;

mod bodies;
mod input;

/// Looks at one input.
pub type Check = fn(&[u8]);

/// All of them, by the names of their targets and corpora.
pub const CHECKS: [(&str, Check); 5] = [
    ("decide", decide::check),
    ("head", head::check),
    ("import", import::check),
    ("layout", layout::check),
    ("request", request::check),
];
