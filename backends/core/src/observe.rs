//! Looking at one value from outside a request: what a watch sees.

use crate::UnixMs;
use crate::answer::push_value;
use crate::cell::Cell;
use crate::layout::{self, Corrupt, Meta};
use bytes::Bytes;

/// A value as a watch sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The key's version; 0 = it does not exist, or has expired.
    pub version: u64,
    /// The stamp of the stored row, which outlives an expiry until the row is swept.
    pub stamp: u64,
    /// In how many milliseconds it expires, if it does.
    pub expires_in_ms: Option<u64>,
    /// Whether an expiry was seen that the account's mark does not cover: it must be marked before
    /// anyone is told.
    pub needs_mark: bool,
    /// Whether an import is putting other content into the account's place: nobody is told anything then.
    pub is_replaced: bool,
    /// The answer's JSON: `Key`, `Version`, and `Value` where there is one.
    pub answer: Bytes,
}

/// Looks at a value's row.
///
/// # Errors
/// [`Corrupt`] when a row can't be read.
pub fn observe(
    meta: (&Cell, Option<&Bytes>),
    value: (&Cell, Option<&Bytes>),
    now_ms: UnixMs,
) -> Result<Observed, Corrupt> {
    let Meta { mark_ms, replacement, .. } = layout::read_meta(meta.0, meta.1)?;
    let now_ms = now_ms.max(mark_ms);
    let (cell, row) = value;
    let header = row.map(|row| layout::header(cell, row)).transpose()?;
    let live = header.filter(|header| header.is_live(now_ms));
    let mut json = Vec::new();
    let version = live.map_or(0, |header| header.revision);
    push_value(&mut json, cell, version, live.and(row).map(layout::value).as_deref());
    Ok(Observed {
        version,
        stamp: header.map_or(0, |header| header.revision),
        expires_in_ms: live.filter(|header| header.expires_ms > 0).map(|header| header.expires_ms - now_ms),
        needs_mark: live.is_none() && header.is_some_and(|header| header.expires_ms > mark_ms),
        is_replaced: replacement.is_some(),
        answer: json.into(),
    })
}
