//! The fast path: plain POSTs to the data routes, read from a connection's bytes and answered without
//! Poem and hyper, which take more time for such a request than all the rest of the server. A connection
//! on which anything else comes, or anything comes in drips, is handed on to them as it is, with the
//! bytes that were read, and stays theirs. So what is here has to know only the plainest form of
//! HTTP/1.1, and whatever it is not sure of is not its business.
//!
//! `--fast-path false` leaves everything to Poem: both paths must answer alike, byte for byte.

mod answer;
mod connection;
mod head;

pub(crate) use connection::{FastPath, Left};
pub(crate) use head::{Parsed, parse};
