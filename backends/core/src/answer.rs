//! The JSON of answers. Written by hand, piece by piece, because values go through byte for byte
//! and because a request is refused when its answer would grow too large, so its size must be known
//! before anything is applied.

use crate::cell::Cell;
use crate::json::{push_number, push_string};
use bytes::Bytes;

/// An answer in the making: an object with its fields in the contract's order.
#[derive(Debug, Default)]
pub struct Answer {
    json: Vec<u8>,
}

impl Answer {
    fn field(&mut self, name: &str) {
        self.json.push(if self.json.is_empty() { b'{' } else { b',' });
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    /// Appends `"name":number`.
    pub fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.field(name);
        push_number(&mut self.json, number);
    }

    /// Appends `"name":"text"`.
    pub fn text(&mut self, name: &str, text: &str) {
        self.field(name);
        push_string(&mut self.json, text);
    }

    /// Appends `"name":` and JSON as it is.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.field(name);
        self.json.extend_from_slice(json);
    }

    /// Appends `"name":true`.
    pub fn flag(&mut self, name: &str) {
        self.field(name);
        self.json.extend_from_slice(b"true");
    }

    /// Appends `"name":[…]`, whose entries are written by `entry`, which returns whether to go on.
    /// Returns whether all entries were written.
    pub fn array<T>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = T>,
        mut entry: impl FnMut(&mut Vec<u8>, T) -> bool,
    ) -> bool {
        self.field(name);
        self.json.push(b'[');
        for (at, item) in entries.into_iter().enumerate() {
            if at > 0 {
                self.json.push(b',');
            }
            if !entry(&mut self.json, item) {
                return false;
            }
        }
        self.json.push(b']');
        true
    }

    /// How many bytes it has by now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.json.len() + 1
    }

    /// Whether it has no field yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The finished object.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        if self.json.is_empty() {
            self.json.push(b'{');
        }
        self.json.push(b'}');
        self.json.into()
    }
}

/// Appends `{"Key":…,"Version":…,"Value":…}`; a version of 0 has no value.
pub fn push_value(json: &mut Vec<u8>, cell: &Cell, version: u64, value: Option<&[u8]>) {
    json.extend_from_slice(b"{\"Key\":");
    push_string(json, cell.id());
    json.extend_from_slice(b",\"Version\":");
    push_number(json, version);
    if let Some(value) = value {
        json.extend_from_slice(b",\"Value\":");
        json.extend_from_slice(value);
    }
    json.push(b'}');
}

/// Appends `{"Key":…,"Value":…}`.
pub fn push_counter(json: &mut Vec<u8>, cell: &Cell, value: i64) {
    json.extend_from_slice(b"{\"Key\":");
    push_string(json, cell.id());
    json.extend_from_slice(b",\"Value\":");
    push_number(json, value);
    json.push(b'}');
}
