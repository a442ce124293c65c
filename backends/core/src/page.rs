//! Lists: which rows of a name space a client sees, in key order, page by page. A store feeds rows
//! to a [`Page`] until it has enough; which of them count is decided here.

use crate::UnixMs;
use crate::cell::{Account, Cell, Kind, prefix};
use crate::json;
use crate::layout::{self, Corrupt, Meta};
use crate::limits::{LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX, Limits};
use crate::request::{Invalid, check_range};
use bytes::Bytes;
use std::ops::ControlFlow;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Query {
    /// The account.
    pub account: Account,
    /// Which name space.
    pub kind: Kind,
    /// Only names that begin with this.
    pub prefix: String,
    /// Only names after this one.
    pub after: String,
    /// At most so many.
    pub entries_max: usize,
    /// About the largest answer, in bytes.
    pub answer_bytes_max: usize,
    /// Whether rows that have expired are shown too: to the server, never to a client.
    pub with_expired: bool,
}

impl Query {
    /// Checks a page's bounds.
    ///
    /// # Errors
    /// [`Invalid`] names the field.
    pub fn new(
        account: Account,
        kind: Kind,
        prefix: String,
        after: String,
        entries_max: Option<u64>,
        limits: &Limits,
    ) -> Result<Self, Invalid> {
        let entries_max = entries_max.unwrap_or(LIST_ENTRIES_DEFAULT as u64);
        check_range("Limit", entries_max, 1, LIST_ENTRIES_MAX as u64)?;
        for (field, text) in [("Prefix", &prefix), ("After", &after)] {
            if text.len() > limits.key_bytes || text.as_bytes().contains(&0) {
                let problem = format!("must be at most {} bytes without NUL", limits.key_bytes);
                return Err(Invalid::Field { field: field.into(), problem });
            }
        }
        let (entries_max, answer_bytes_max) = (entries_max as usize, limits.answer_bytes);
        Ok(Self { account, kind, prefix, after, entries_max, answer_bytes_max, with_expired: false })
    }

    /// The account's own row, which a scan reads too.
    #[must_use]
    pub fn meta(&self) -> Cell {
        Cell::meta(&self.account)
    }

    /// The stored names to scan: from here on (not this one itself when `after` excludes it) …
    #[must_use]
    pub fn from(&self) -> Vec<u8> {
        if self.after.as_str() >= self.prefix.as_str() && !self.after.is_empty() {
            let mut from = prefix(&self.account, self.kind, &self.after);
            from.push(0); // The next possible name: ids hold no NUL.
            from
        } else {
            prefix(&self.account, self.kind, &self.prefix)
        }
    }

    /// … for as long as they begin with this.
    #[must_use]
    pub fn stem(&self) -> Vec<u8> {
        prefix(&self.account, self.kind, &self.prefix)
    }

    /// The first bytes past all names that begin with the [`stem`](Self::stem).
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        let mut end = self.stem();
        if let Some(last) = end.last_mut() {
            // It is a kind or of UTF-8, never 255.
            *last = last.saturating_add(1);
        }
        end
    }
}

/// A row that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub cell: Cell,
    /// Its bytes.
    pub row: Bytes,
}

/// A page in the making, then the page.
#[derive(Debug)]
pub struct Page {
    /// What is shown, in order.
    pub shown: Vec<Shown>,
    /// Whether there is more after it.
    pub more: bool,
    /// Whether an expiry was found that the account's mark does not cover: it must be marked before
    /// the page is answered.
    pub needs_mark: bool,
    /// Whether an import is putting other content into the account's place: then the page is not to be answered.
    pub is_replaced: bool,
    with_expired: bool,
    entries_max: usize,
    bytes_left: usize,
    now_ms: UnixMs,
    mark_ms: UnixMs,
}

impl Page {
    /// Begins a page: `meta_row` is the account's own row, `now_ms` the store's time.
    ///
    /// # Errors
    /// [`Corrupt`] when the account's row can't be read.
    pub fn begin(query: &Query, meta_row: Option<&Bytes>, now_ms: UnixMs) -> Result<Self, Corrupt> {
        let Meta { mark_ms, replacement, .. } = layout::read_meta(&query.meta(), meta_row)?;
        Ok(Self {
            shown: Vec::new(),
            more: false,
            needs_mark: false,
            is_replaced: replacement.is_some(),
            with_expired: query.with_expired,
            entries_max: query.entries_max,
            bytes_left: query.answer_bytes_max.saturating_sub(64),
            now_ms: now_ms.max(mark_ms),
            mark_ms,
        })
    }

    /// Takes the next row in order; `Break` when the page is full.
    ///
    /// # Errors
    /// [`Corrupt`] when the row can't be read.
    pub fn push(&mut self, cell: Cell, row: Bytes) -> Result<ControlFlow<()>, Corrupt> {
        let header = layout::header(&cell, &row)?;
        if !self.with_expired && !header.is_live(self.now_ms) {
            self.needs_mark |= header.expires_ms > self.mark_ms;
            return Ok(ControlFlow::Continue(()));
        }
        let bytes = shown_bytes_max(&cell, &row);
        let full =
            self.shown.len() == self.entries_max || (bytes > self.bytes_left && !self.shown.is_empty());
        if full {
            self.more = true;
            return Ok(ControlFlow::Break(()));
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.shown.push(Shown { cell, row });
        Ok(ControlFlow::Continue(()))
    }
}

/// At least as many bytes as the entry takes in the answer.
fn shown_bytes_max(cell: &Cell, row: &Bytes) -> usize {
    const NAMES_AND_NUMBERS: usize = 160;
    let mut id = Vec::new();
    json::push_string(&mut id, cell.id());
    let escapes = if cell.kind() == Kind::Lock { 6 } else { 1 };
    id.len() + row.len() * escapes + NAMES_AND_NUMBERS
}
