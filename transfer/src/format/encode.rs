//! Writing lines, by hand: values go through byte for byte.

use super::{FORMAT, Head};
use bytes::Bytes;
use dragon_contract::NamedRow;
use dragon_core::answer::Answer;
use dragon_core::cell::Kind;
use dragon_core::layout::{self, Corrupt, Header, Kept};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Writes a file, piece by piece.
#[derive(Debug)]
pub struct Encoder {
    rows: u64,
    hash: Sha256,
}

impl Encoder {
    /// Begins a file, and returns its first line.
    #[must_use]
    pub fn begin(head: &Head) -> (Self, Bytes) {
        let mut encoder = Self { rows: 0, hash: Sha256::new() };
        let mut line = line("Account");
        line.number("Format", FORMAT);
        line.text("Account", &head.account);
        line.number("Revision", head.revision);
        line.number("MarkMs", head.mark_ms);
        let mut lines = Vec::new();
        push(&mut lines, line);
        encoder.hash.update(&lines);
        (encoder, lines.into())
    }

    /// The lines of these rows. An account's own row has none, nor has a staged one.
    ///
    /// # Errors
    /// [`Corrupt`] when a row can't be read.
    pub fn rows(&mut self, rows: &[NamedRow]) -> Result<Bytes, Corrupt> {
        let mut lines = Vec::with_capacity(rows.iter().map(|(_, row)| row.len() + 100).sum());
        for row in rows {
            if let Some(line) = row_line(row)? {
                push(&mut lines, line);
                self.rows += 1;
            }
        }
        self.hash.update(&lines);
        Ok(lines.into())
    }

    /// How many rows it has so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.rows
    }

    /// The last line.
    #[must_use]
    pub fn end(self) -> Bytes {
        let mut line = line("End");
        line.number("Rows", self.rows);
        line.text("SHA256", &hex(&self.hash.finalize()));
        let mut lines = Vec::new();
        push(&mut lines, line);
        lines.into()
    }
}

fn line(kind: &str) -> Answer {
    let mut line = Answer::default();
    line.text("Kind", kind);
    line
}

fn push(lines: &mut Vec<u8>, line: Answer) {
    lines.extend_from_slice(&line.finish());
    lines.push(b'\n');
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

fn row_line((cell, row): &NamedRow) -> Result<Option<Answer>, Corrupt> {
    let header = layout::header(cell, row)?;
    Ok(Some(match cell.kind() {
        Kind::Meta | Kind::Staged => return Ok(None),
        Kind::Value => {
            let mut line = begin("KV", "Key", cell.id(), header);
            push_json(&mut line, ("Value", "Text"), &layout::value(row));
            line
        }
        Kind::Counter => {
            let mut line = begin("Counter", "Key", cell.id(), header);
            line.number("Value", layout::read_counter(cell, Some(row))?);
            line
        }
        Kind::Lock => {
            let (_, lock) = layout::read_lock(cell, row)?;
            let mut line = begin("Lock", "ID", cell.id(), header);
            line.number("Lock", lock.handle);
            if let Some(granted_ms) = lock.granted_ms {
                line.number("SinceMs", granted_ms);
            }
            if !lock.owner.is_empty() {
                line.text("Owner", text(&lock.owner));
            }
            line
        }
        Kind::Idempotency => {
            let (fingerprint, kept) = layout::read_idempotency(cell, row)?;
            let mut line = begin("IdempotencyID", "ID", cell.id(), header);
            line.text("Fingerprint", &hex(&fingerprint));
            match kept {
                Kept::Nothing => {}
                Kept::Answer(answer) => push_json(&mut line, ("Response", "ResponseText"), &answer),
                Kept::Beside(id) => line.text("Beside", text(&id)),
            }
            line
        }
    }))
}

fn begin(kind: &str, name: &str, id: &str, header: Header) -> Answer {
    let mut line = line(kind);
    line.text(name, id);
    line.number("Version", header.revision);
    if header.expires_ms > 0 {
        line.number("ExpiresMs", header.expires_ms);
    }
    line
}

/// What was checked as UTF-8 when it came in.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn push_json(line: &mut Answer, (raw, as_text): (&str, &str), json: &[u8]) {
    if json.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        line.text(as_text, text(json));
    } else {
        line.raw(raw, json);
    }
}
