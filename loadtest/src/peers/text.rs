//! Names and values that change in place: a few digits a request, and no allocation.

use crate::http::write_digits;
use crate::peers::checks::Author;
use anyhow::{Context as _, Result};

const ACCOUNT_DIGITS: usize = 6;
const KEY_DIGITS: usize = 6;
const WORKER_DIGITS: usize = 6;
const SEQUENCE_DIGITS: usize = 12;
/// The least a value may have: its author's numbers.
pub const VALUE_BYTES_MIN: usize = WORKER_DIGITS + 1 + SEQUENCE_DIGITS;

/// What Cloud Dragon keeps apart as accounts is a part of the name here.
#[derive(Clone, Debug)]
pub struct Name {
    text: Vec<u8>,
    account_at: usize,
    key_at: usize,
    keys: usize,
}

impl Name {
    /// For the keys of a run, of which each account has so many.
    #[must_use]
    pub fn new(run: &str, keys: usize) -> Self {
        let text = format!("{run}:{:0ACCOUNT_DIGITS$}:key-{:0KEY_DIGITS$}", 0, 0).into_bytes();
        let key_at = text.len() - KEY_DIGITS;
        Self { account_at: run.len() + 1, key_at, text, keys: keys.max(1) }
    }

    /// The name of the key of this number, counted through all accounts.
    pub fn of(&mut self, number: usize) -> &str {
        let (account, key) = (number / self.keys, number % self.keys);
        write_digits(&mut self.text[self.account_at..][..ACCOUNT_DIGITS], account as u64);
        write_digits(&mut self.text[self.key_at..][..KEY_DIGITS], key as u64);
        // It is made of text, and digits.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// A value that says who wrote it.
#[derive(Clone, Debug)]
pub struct Value {
    text: Vec<u8>,
}

impl Value {
    /// Of so many bytes, or as many as it takes.
    #[must_use]
    pub fn new(worker: usize, bytes: usize) -> Self {
        let mut text = vec![b'x'; bytes.max(VALUE_BYTES_MIN)];
        write_digits(&mut text[..WORKER_DIGITS], worker as u64);
        text[WORKER_DIGITS] = b'-';
        Self { text }
    }

    /// As the write of this number.
    pub fn of(&mut self, sequence: u64) -> &[u8] {
        write_digits(&mut self.text[WORKER_DIGITS + 1..][..SEQUENCE_DIGITS], sequence);
        &self.text
    }

    /// Who wrote this.
    ///
    /// # Errors
    /// If nobody did.
    pub fn author(text: &[u8]) -> Result<Author> {
        let numbers = || {
            let text = std::str::from_utf8(text.get(..VALUE_BYTES_MIN)?).ok()?;
            let (worker, sequence) = text.split_once('-')?;
            Some(Author { worker: worker.parse().ok()?, sequence: sequence.parse().ok()? })
        };
        numbers().with_context(|| format!("the value is {:?}", String::from_utf8_lossy(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_change_in_place() {
        let mut name = Name::new("run", 1000);
        assert_eq!(name.of(0), "run:000000:key-000000");
        assert_eq!(name.of(12_345), "run:000012:key-000345");
        let mut value = Value::new(7, 64);
        assert_eq!(value.of(1).len(), 64);
        assert_eq!(Value::author(value.of(42)).unwrap(), Author { worker: 7, sequence: 42 });
        assert_eq!(Value::new(7, 1).of(3), b"000007-000000000003");
        for bad in ["", "000007-", "00000700000000000003", "x00007-000000000003"] {
            assert!(Value::author(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
