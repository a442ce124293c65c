//! The format of an exported account: lines of JSON (newline-delimited), each with its `Kind`. The first is
//! `Account`, then comes one for each row in the order of kinds and names, then `End` with their number and a
//! SHA-256 (FIPS 180-4) of all lines before it: a file without it was cut off.
//!
//! ```json
//! {"Kind":"Account","Format":1,"Account":"a","Revision":7,"MarkMs":0}
//! {"Kind":"KV","Key":"k","Version":3,"ExpiresMs":1767225600000,"Value":{"any": "JSON"}}
//! {"Kind":"Counter","Key":"c","Version":4,"Value":-5}
//! {"Kind":"Lock","ID":"l","Version":5,"ExpiresMs":1767225600000,"Lock":5,"Owner":"me"}
//! {"Kind":"IdempotencyID","ID":"i","Version":7,"ExpiresMs":1767225600000,"Fingerprint":"…","Response":{}}
//! {"Kind":"End","Rows":4,"SHA256":"…"}
//! ```
//!
//! Values and responses are byte for byte as they were sent. One that has line breaks, which would end its line, is in
//! `Text` or `ResponseText` instead, as a JSON string that holds the JSON. Times are Unix milliseconds. What has
//! expired is there, with its time, until it is swept.

mod decode;
mod encode;
mod lines;

pub use decode::{Decoder, FormatError};
pub use encode::{Encoder, hex};

use dragon_core::UnixMs;

/// The format's number. Raise it with every change that an older program would misread.
pub const FORMAT: u64 = 1;

/// What a file says of its account as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The account that was exported.
    pub account: String,
    /// Its revision.
    pub revision: u64,
    /// Its time never reads earlier than this.
    pub mark_ms: UnixMs,
}
