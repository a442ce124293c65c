//! Stored rows: what a cell's bytes mean. Format 1, or 2 of a lock of which it is known when it was granted; all
//! integers big-endian:
//!
//! ```text
//! byte 0      format version
//! 1..9        revision of the last write: the stamp of the cell
//! 9..17       expiry, Unix milliseconds; 0 = never
//! 17..        Meta        time mark (u64); once there was an import also 0 = open, 1 = closed for the import, 2 = and
//!                         the former content is gone, import (u64), driver (u64)
//!             Value       the JSON, byte for byte
//!             Counter     the number (i64)
//!             Lock        handle (u64), in format 2 when it was granted (u64, Unix milliseconds), owner (UTF-8, may be
//!                         empty = none given)
//!             Idempotency fingerprint (16 bytes), then 0 = answer not kept,
//!                         1 + the answer, 2 + the id beside which the answer is kept
//!             Staged      as that of the cell for which it is staged
//! ```

use crate::UnixMs;
use crate::cell::{Cell, Kind};
use crate::limits::EXPIRED_LOCK_KEPT_MS;
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;
/// The format of a lock's row that tells when the lock was granted.
const FORMAT_WITH_GRANT: u8 = 2;
/// Bytes of the header that every row begins with; they tell its stamp.
pub const HEADER_BYTES: usize = 17;
/// Bytes of a request's fingerprint.
pub const FINGERPRINT_BYTES: usize = 16;

/// A stored row that no version of this program has written: the store is damaged, or newer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored row {cell:?} can't be read: {what}")]
pub struct Corrupt {
    /// The row.
    pub cell: Cell,
    /// What is wrong with it.
    pub what: &'static str,
}

/// The account's own row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The revision of the last applied write.
    pub revision: u64,
    /// The latest time at which an expiry has been shown: the account's time never reads earlier.
    pub mark_ms: UnixMs,
    /// Set while an import replaces the account's content: every request is turned away.
    pub replacement: Option<Replacement>,
    /// The last driver of an import; 0 = there was none.
    pub driver: u64,
    /// The revision at which the account was deleted last; 0 = never.
    pub deleted: u64,
}

impl Meta {
    /// Whether there is an account: something was written since it was deleted.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.revision > self.deleted
    }
}

/// How far an import has come that replaces an account's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The import.
    pub import: u64,
    /// Whether the former content is gone; from then on the new one is put into its place.
    pub is_cleared: bool,
}

/// What every row but [`Meta`] begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The revision of the last write of this row.
    pub revision: u64,
    /// When it stops being there; 0 = never.
    pub expires_ms: UnixMs,
}

impl Header {
    /// Whether the row is there at that time.
    #[must_use]
    pub fn is_live(&self, now_ms: UnixMs) -> bool {
        self.expires_ms == 0 || now_ms < self.expires_ms
    }
}

/// A lock's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRow {
    /// The revision at which it was granted.
    pub handle: u64,
    /// When it was granted, where that is known: rows of format 1 do not tell.
    pub granted_ms: Option<UnixMs>,
    /// Who holds it, as the holder said; empty when nothing was said.
    pub owner: Bytes,
}

/// Where an idempotency id's answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The answer was too large to keep.
    Nothing,
    /// The answer's JSON.
    Answer(Bytes),
    /// The answer is kept beside this id of the same request.
    Beside(Bytes),
}

fn damaged(cell: &Cell, what: &'static str) -> Corrupt {
    Corrupt { cell: cell.clone(), what }
}

fn begin(header: Header, body_len: usize) -> BytesMut {
    begin_format(FORMAT, header, body_len)
}

fn begin_format(format: u8, header: Header, body_len: usize) -> BytesMut {
    let mut row = BytesMut::with_capacity(HEADER_BYTES + body_len);
    row.put_u8(format);
    row.put_u64(header.revision);
    row.put_u64(header.expires_ms);
    row
}

fn u64_at(row: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(row.get(at..at + 8)?.try_into().ok()?))
}

/// Reads what every row begins with.
///
/// # Errors
/// [`Corrupt`] when the row is too short or of another format.
pub fn header(cell: &Cell, row: &[u8]) -> Result<Header, Corrupt> {
    match row.first() {
        Some(&FORMAT) => {}
        Some(&FORMAT_WITH_GRANT) if matches!(cell.kind(), Kind::Lock | Kind::Staged) => {}
        Some(_) => return Err(damaged(cell, "unknown row format")),
        None => return Err(damaged(cell, "empty")),
    }
    match (u64_at(row, 1), u64_at(row, 9)) {
        (Some(revision), Some(expires_ms)) => Ok(Header { revision, expires_ms }),
        _ => Err(damaged(cell, "too short")),
    }
}

/// The stamp by which `Backend::changed` compares: the revision of a row's last write, 0 when
/// there is no such row.
///
/// # Errors
/// [`Corrupt`] when the row can't be read.
pub fn stamp(cell: &Cell, row: Option<&Bytes>) -> Result<u64, Corrupt> {
    row.map_or(Ok(0), |row| header(cell, row).map(|header| header.revision))
}

/// When a sweep may delete the row: `None` = never by itself.
///
/// # Errors
/// [`Corrupt`] when the row can't be read.
pub fn sweep_at_ms(cell: &Cell, row: &[u8]) -> Result<Option<UnixMs>, Corrupt> {
    let header = header(cell, row)?;
    Ok(match (cell.kind(), header.expires_ms) {
        (_, 0) | (Kind::Staged, _) => None,
        (Kind::Lock, expires_ms) => Some(expires_ms.saturating_add(EXPIRED_LOCK_KEPT_MS)),
        (_, expires_ms) => Some(expires_ms),
    })
}

/// Writes the account's row.
#[must_use]
pub fn write_meta(meta: Meta) -> Bytes {
    let mut row = begin(Header { revision: meta.revision, expires_ms: 0 }, 8);
    row.put_u64(meta.mark_ms);
    if meta.driver > 0 {
        let state = meta.replacement.map_or(0, |replacement| 1 + u8::from(replacement.is_cleared));
        row.put_u8(state);
        // One that an import has closed is there again once it opens it.
        row.put_u64(meta.replacement.map_or(meta.deleted, |replacement| replacement.import));
        row.put_u64(meta.driver);
    }
    row.freeze()
}

/// Reads the account's row; an account without one is new.
///
/// # Errors
/// [`Corrupt`] when the row can't be read.
pub fn read_meta(cell: &Cell, row: Option<&Bytes>) -> Result<Meta, Corrupt> {
    let Some(row) = row else { return Ok(Meta::default()) };
    let Header { revision, expires_ms: 0 } = header(cell, row)? else {
        return Err(damaged(cell, "an account's row that expires"));
    };
    let mark_ms = u64_at(row, HEADER_BYTES).ok_or_else(|| damaged(cell, "too short"))?;
    let after = &row[HEADER_BYTES + 8..];
    let (replacement, driver, deleted) = match (after.first(), u64_at(after, 1), u64_at(after, 9)) {
        (None, ..) => (None, 0, 0),
        (_, _, Some(0)) => return Err(damaged(cell, "an import without a driver")),
        (Some(0), Some(deleted), Some(driver)) if after.len() == 17 => (None, driver, deleted),
        (Some(&state @ (1 | 2)), Some(import), Some(driver)) if after.len() == 17 => {
            (Some(Replacement { import, is_cleared: state == 2 }), driver, 0)
        }
        _ => return Err(damaged(cell, "unknown account state")),
    };
    Ok(Meta { revision, mark_ms, replacement, driver, deleted })
}

/// Writes a value's row.
#[must_use]
pub fn write_value(header: Header, json: &[u8]) -> Bytes {
    let mut row = begin(header, json.len());
    row.put_slice(json);
    row.freeze()
}

/// The JSON of a value's row whose header has been read.
#[must_use]
pub fn value(row: &Bytes) -> Bytes {
    row.slice(HEADER_BYTES..)
}

/// Writes a counter's row.
#[must_use]
pub fn write_counter(header: Header, number: i64) -> Bytes {
    let mut row = begin(header, 8);
    row.put_i64(number);
    row.freeze()
}

/// Reads a counter; one without a row is 0.
///
/// # Errors
/// [`Corrupt`] when the row can't be read.
pub fn read_counter(cell: &Cell, row: Option<&Bytes>) -> Result<i64, Corrupt> {
    let Some(row) = row else { return Ok(0) };
    header(cell, row)?;
    let number = u64_at(row, HEADER_BYTES).filter(|_| row.len() == HEADER_BYTES + 8);
    number.map(u64::cast_signed).ok_or_else(|| damaged(cell, "not as long as a counter"))
}

/// Writes a lock's row.
#[must_use]
pub fn write_lock(header: Header, lock: &LockRow) -> Bytes {
    let format = if lock.granted_ms.is_some() { FORMAT_WITH_GRANT } else { FORMAT };
    let mut row = begin_format(format, header, 16 + lock.owner.len());
    row.put_u64(lock.handle);
    if let Some(granted_ms) = lock.granted_ms {
        row.put_u64(granted_ms);
    }
    row.put_slice(&lock.owner);
    row.freeze()
}

/// Reads a lock's row.
///
/// # Errors
/// [`Corrupt`] when the row can't be read.
pub fn read_lock(cell: &Cell, row: &Bytes) -> Result<(Header, LockRow), Corrupt> {
    let header = header(cell, row)?;
    let number = |at| u64_at(row, at).ok_or_else(|| damaged(cell, "too short"));
    let handle = number(HEADER_BYTES)?;
    let (granted_ms, owner_at) = match row.first() {
        Some(&FORMAT_WITH_GRANT) => (Some(number(HEADER_BYTES + 8)?), HEADER_BYTES + 16),
        _ => (None, HEADER_BYTES + 8),
    };
    Ok((header, LockRow { handle, granted_ms, owner: row.slice(owner_at..) }))
}

/// Writes an idempotency id's row.
#[must_use]
pub fn write_idempotency(header: Header, fingerprint: &[u8; FINGERPRINT_BYTES], kept: &Kept) -> Bytes {
    let (tag, rest): (u8, &[u8]) = match kept {
        Kept::Nothing => (0, &[]),
        Kept::Answer(answer) => (1, answer),
        Kept::Beside(id) => (2, id),
    };
    let mut row = begin(header, FINGERPRINT_BYTES + 1 + rest.len());
    row.put_slice(fingerprint);
    row.put_u8(tag);
    row.put_slice(rest);
    row.freeze()
}

/// Reads an idempotency id's row: the fingerprint of the request that used it, and its answer.
///
/// # Errors
/// [`Corrupt`] when the row can't be read.
pub fn read_idempotency(cell: &Cell, row: &Bytes) -> Result<([u8; FINGERPRINT_BYTES], Kept), Corrupt> {
    let tag_at = HEADER_BYTES + FINGERPRINT_BYTES;
    let fingerprint = row.get(HEADER_BYTES..tag_at).and_then(|bytes| bytes.try_into().ok());
    let (Some(fingerprint), Some(tag)) = (fingerprint, row.get(tag_at)) else {
        return Err(damaged(cell, "too short"));
    };
    let rest = row.slice(tag_at + 1..);
    let kept = match tag {
        0 if rest.is_empty() => Kept::Nothing,
        1 => Kept::Answer(rest),
        2 => Kept::Beside(rest),
        _ => return Err(damaged(cell, "unknown answer tag, or an answer that is not kept")),
    };
    Ok((fingerprint, kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Account;

    #[test]
    fn short_and_foreign_rows_are_corrupt_not_a_panic() {
        let account = Account::new("a").unwrap();
        let cell = Cell::new(&account, Kind::Lock, "l");
        let header_of_lock = Header { revision: 9, expires_ms: 5 };
        let lock = |granted_ms| LockRow { handle: 7, granted_ms, owner: Bytes::from_static(b"me") };
        let granted = write_lock(header_of_lock, &lock(Some(3)));
        assert_eq!(read_lock(&cell, &granted).unwrap(), (header_of_lock, lock(Some(3))));
        assert!(read_lock(&cell, &granted.slice(..HEADER_BYTES + 15)).is_err());
        assert!(header(&Cell::new(&account, Kind::Value, "l"), &granted).is_err());
        let row = write_lock(header_of_lock, &lock(None));
        assert_eq!(read_lock(&cell, &row).unwrap(), (header_of_lock, lock(None)));
        for len in 0..HEADER_BYTES + 8 {
            let short = row.slice(..len);
            assert!(read_lock(&cell, &short).is_err());
            assert!(read_counter(&cell, Some(&short)).is_err());
            assert!(read_meta(&cell, Some(&short)).is_err());
            assert!(read_idempotency(&cell, &short).is_err());
        }
        assert!(header(&cell, &[3; 40]).is_err());
        let replaced = |is_cleared| Some(Replacement { import: 3, is_cleared });
        for (replacement, driver, deleted) in
            [(None, 0, 0), (None, 4, 0), (None, 4, 6), (replaced(false), 4, 0), (replaced(true), 5, 0)]
        {
            let meta = Meta { revision: 7, mark_ms: 8, replacement, driver, deleted };
            let row = write_meta(meta);
            assert_eq!(read_meta(&cell, Some(&row)).unwrap(), meta);
            let longer: Bytes = [row.as_ref(), &[0]].concat().into();
            assert!(read_meta(&cell, Some(&longer)).is_err());
        }
    }

    /// What a reader passes over would be lost when the row is written again.
    #[test]
    fn rows_that_no_writer_writes_are_corrupt() {
        let account = Account::new("a").unwrap();
        let cell = Cell::new(&account, Kind::Counter, "c");
        let head = Header { revision: 7, expires_ms: 0 };
        let longer = |row: Bytes| Bytes::from([row.as_ref(), &[0]].concat());
        assert!(read_counter(&cell, Some(&write_counter(head, -5))).is_ok());
        assert!(read_counter(&cell, Some(&longer(write_counter(head, -5)))).is_err());
        let nothing = write_idempotency(head, &[9; FINGERPRINT_BYTES], &Kept::Nothing);
        assert!(read_idempotency(&cell, &nothing).is_ok());
        assert!(read_idempotency(&cell, &longer(nothing)).is_err());
        let mark = [0; 8];
        let expires = write_value(Header { expires_ms: 1, ..head }, &mark);
        assert!(read_meta(&cell, Some(&write_value(head, &mark))).is_ok());
        assert!(read_meta(&cell, Some(&expires)).is_err());
        let no_driver = write_value(head, &[mark.as_slice(), &[1], &[3; 8], &[0; 8]].concat());
        assert!(read_meta(&cell, Some(&no_driver)).is_err());
    }
}
