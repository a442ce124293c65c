//! Reading lines: everything is checked before it is believed, by the rules that requests go by.

use super::encode::hex;
use super::lines::{AccountLine, CounterLine, EndLine, IdempotencyLine, LockLine, Peek, ValueLine};
use super::{FORMAT, Head};
use bytes::{Buf as _, Bytes, BytesMut};
use dragon_contract::NamedRow;
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::json;
use dragon_core::layout::{self, FINGERPRINT_BYTES, Header, Kept, LockRow};
use dragon_core::limits::{
    KEPT_ANSWER_BYTES_MAX, Limits, OWNER_BYTES_MAX, REVISION_MAX, REVISIONS_SKIPPED, VALUE_BYTES_MAX,
    VALUE_DEPTH_MAX,
};
use dragon_core::request::check_id;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Longest line: a value as a string, each of its bytes escaped.
const LINE_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX + 16_384;
/// Latest time that is believed: the year 9999.
const TIME_MS_MAX: UnixMs = 253_402_300_799_999;

/// Why what was read is no exported account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A line is not as it has to be.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no `End`.
    #[error("the file ends after line {line} without its last line (End): it was cut off")]
    Cut {
        /// The number of the last line that was read.
        line: u64,
    },
    /// Its account's time is far ahead.
    #[error(
        "the account's time (MarkMs) is more than a day ahead of this store's: leases and TTLs would stand still"
    )]
    Ahead,
    /// The account's revision can't be raised above the file's any more.
    #[error("the account's revision is too high to be raised by another import: use another account")]
    NoRoom,
    /// A newer version of this program has written it.
    #[error("the file is of format {0}, of a newer version of this program; this one knows up to {FORMAT}")]
    Newer(u64),
}

/// Reads a file, piece by piece, as rows of one account.
#[derive(Clone, Debug)]
pub struct Decoder {
    account: Account,
    /// What has come of the line that is not whole yet.
    rest: BytesMut,
    line: u64,
    hash: Sha256,
    head: Option<Head>,
    last: Option<Cell>,
    rows: u64,
    is_ended: bool,
}

impl Decoder {
    /// The rows will be this account's, whatever the account was called that was exported.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self {
            account,
            rest: BytesMut::new(),
            line: 0,
            hash: Sha256::new(),
            head: None,
            last: None,
            rows: 0,
            is_ended: false,
        }
    }

    /// Takes in the next bytes, and returns the rows that are whole now.
    ///
    /// # Errors
    /// [`FormatError`]: then nothing of the file is to be believed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<NamedRow>, FormatError> {
        let mut from = self.rest.len();
        self.rest.extend_from_slice(bytes);
        let mut rows = Vec::new();
        while let Some(at) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(from + at).freeze();
            self.rest.advance(1);
            from = 0;
            rows.extend(self.take_line(&line)?);
        }
        if self.rest.len() > LINE_BYTES_MAX {
            self.line += 1;
            return Err(self.wrong("is too long"));
        }
        Ok(rows)
    }

    /// The file's end: what it says of the account, and how many rows it had.
    ///
    /// # Errors
    /// [`FormatError`]: then nothing of the file is to be believed.
    pub fn finish(mut self) -> Result<(Head, u64), FormatError> {
        if !self.rest.is_empty() {
            // The last line's break may be missing.
            let line = std::mem::take(&mut self.rest).freeze();
            self.take_line(&line)?;
        }
        match self.head {
            Some(head) if self.is_ended => Ok((head, self.rows)),
            _ => Err(FormatError::Cut { line: self.line }),
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> FormatError {
        FormatError::Line { line: self.line, problem: problem.into() }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, line: &'a [u8]) -> Result<T, FormatError> {
        serde_json::from_slice(line).map_err(|error| self.wrong(error.to_string()))
    }

    fn take_line(&mut self, line: &Bytes) -> Result<Option<NamedRow>, FormatError> {
        self.line += 1;
        if self.is_ended {
            return Err(self.wrong("something comes after End"));
        }
        let peek: Peek = self.parse(line)?;
        let is_first = self.head.is_none();
        let row = match (peek.kind.as_str(), is_first) {
            ("Account", true) => {
                match peek.format {
                    Some(FORMAT) => {}
                    Some(format) if format > FORMAT => return Err(FormatError::Newer(format)),
                    _ => return Err(self.wrong("Format is missing, or not one that ever was")),
                }
                self.head = Some(self.head_of(self.parse(line)?)?);
                None
            }
            (_, true) => return Err(self.wrong("an exported account begins with a line of the kind Account")),
            ("End", false) => {
                self.check_end(&self.parse(line)?)?;
                self.is_ended = true;
                return Ok(None);
            }
            ("KV", false) => Some(self.value(self.parse(line)?)?),
            ("Counter", false) => Some(self.counter(self.parse(line)?)?),
            ("Lock", false) => Some(self.lock(self.parse(line)?)?),
            ("IdempotencyID", false) => Some(self.idempotency(self.parse(line)?)?),
            (kind, false) => return Err(self.wrong(format!("the kind {kind:?} is not known, or not here"))),
        };
        if let Some((cell, _)) = &row {
            if self.last.as_ref().is_some_and(|last| last >= cell) {
                return Err(self.wrong("the lines are not in order, or one is there twice"));
            }
            self.last = Some(cell.clone());
            self.rows += 1;
        }
        self.hash.update(line);
        self.hash.update(b"\n");
        Ok(row)
    }

    fn head_of(&self, line: AccountLine) -> Result<Head, FormatError> {
        Account::new(&line.account).map_err(|error| self.wrong(error.to_string()))?;
        if line.revision > REVISION_MAX - 2 * REVISIONS_SKIPPED {
            return Err(self.wrong("Revision is too large"));
        }
        let mark_ms = self.time(line.mark_ms)?;
        Ok(Head { account: line.account, revision: line.revision, mark_ms })
    }

    fn check_end(&self, end: &EndLine) -> Result<(), FormatError> {
        if end.rows != self.rows {
            return Err(self.wrong(format!("Rows is {}, but {} came before", end.rows, self.rows)));
        }
        if end.sha256 != hex(&self.hash.clone().finalize()) {
            return Err(self.wrong("SHA256 is not that of the lines before: the file was changed or damaged"));
        }
        Ok(())
    }

    fn cell(&self, kind: Kind, id: &str) -> Result<Cell, FormatError> {
        check_id(id, &Limits::default(), || "the name".into())
            .map_err(|error| self.wrong(error.to_string()))?;
        Ok(Cell::new(&self.account, kind, id))
    }

    fn time(&self, at_ms: UnixMs) -> Result<UnixMs, FormatError> {
        if at_ms > TIME_MS_MAX { Err(self.wrong("a time is too far off")) } else { Ok(at_ms) }
    }

    fn header(&self, version: u64, expires_ms: Option<UnixMs>) -> Result<Header, FormatError> {
        let revision = self.head.as_ref().map_or(0, |head| head.revision);
        if !(1..=revision).contains(&version) {
            return Err(self.wrong("Version must be from 1 to the account's Revision"));
        }
        if expires_ms == Some(0) {
            return Err(self.wrong("ExpiresMs must not be 0"));
        }
        Ok(Header { revision: version, expires_ms: self.time(expires_ms.unwrap_or(0))? })
    }

    /// The JSON that a line has either as it is or as text.
    fn json(
        &self,
        raw: Option<&RawValue>,
        text: Option<String>,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, FormatError> {
        let json = match (raw, text) {
            (Some(raw), None) => Bytes::copy_from_slice(raw.get().as_bytes()),
            (None, Some(text)) => {
                serde_json::from_str::<&RawValue>(&text)
                    .map_err(|error| self.wrong(format!("the text is not JSON: {error}")))?;
                text.into()
            }
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(self.wrong("has both the JSON and its text")),
        };
        if json.len() > bytes_max {
            return Err(self.wrong(format!("the JSON is larger than {bytes_max} bytes")));
        }
        Ok(Some(json))
    }

    fn value(&self, line: ValueLine<'_>) -> Result<NamedRow, FormatError> {
        let cell = self.cell(Kind::Value, &line.key)?;
        let header = self.header(line.version, line.expires_ms)?;
        let value = self.json(line.value, line.text, VALUE_BYTES_MAX)?;
        let value = value.ok_or_else(|| self.wrong("Value is missing"))?;
        if json::depth(&value, VALUE_DEPTH_MAX) > VALUE_DEPTH_MAX {
            return Err(self.wrong(format!("Value nests deeper than {VALUE_DEPTH_MAX} levels")));
        }
        Ok((cell, layout::write_value(header, &value)))
    }

    fn counter(&self, line: CounterLine) -> Result<NamedRow, FormatError> {
        let cell = self.cell(Kind::Counter, &line.key)?;
        Ok((cell, layout::write_counter(self.header(line.version, None)?, line.value)))
    }

    fn lock(&self, line: LockLine) -> Result<NamedRow, FormatError> {
        let cell = self.cell(Kind::Lock, &line.id)?;
        let header = self.header(line.version, Some(line.expires_ms))?;
        if !(1..=line.version).contains(&line.lock) {
            return Err(self.wrong("Lock must be from 1 to Version"));
        }
        let owner = Bytes::from(line.owner.unwrap_or_default());
        if owner.len() > OWNER_BYTES_MAX {
            return Err(self.wrong(format!("Owner is longer than {OWNER_BYTES_MAX} bytes")));
        }
        let granted_ms = line.since_ms.map(|since_ms| self.time(since_ms)).transpose()?;
        Ok((cell, layout::write_lock(header, &LockRow { handle: line.lock, granted_ms, owner })))
    }

    fn idempotency(&self, line: IdempotencyLine<'_>) -> Result<NamedRow, FormatError> {
        let cell = self.cell(Kind::Idempotency, &line.id)?;
        let header = self.header(line.version, Some(line.expires_ms))?;
        let fingerprint = self.fingerprint(&line.fingerprint)?;
        let response = self.json(line.response, line.response_text, KEPT_ANSWER_BYTES_MAX)?;
        let kept = match (response, line.beside) {
            (None, None) => Kept::Nothing,
            (Some(answer), None) => Kept::Answer(answer),
            (None, Some(id)) => {
                self.cell(Kind::Idempotency, &id)?;
                Kept::Beside(id.into())
            }
            (Some(_), Some(_)) => return Err(self.wrong("has both a Response and Beside")),
        };
        Ok((cell, layout::write_idempotency(header, &fingerprint, &kept)))
    }

    fn fingerprint(&self, text: &str) -> Result<[u8; FINGERPRINT_BYTES], FormatError> {
        let wrong =
            || self.wrong(format!("Fingerprint must be {} hexadecimal digits", 2 * FINGERPRINT_BYTES));
        let is_hex =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if text.len() != 2 * FINGERPRINT_BYTES || !is_hex(text) {
            return Err(wrong());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| wrong())?;
        Ok(number.to_be_bytes())
    }
}
