//! The names that a scenario's data has: accounts and keys by number, of fixed width, so that requests change
//! in place.

use crate::http::Request;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Digits of an account's, key's or connection's number in a name.
pub const NAME_DIGITS: usize = 7;
/// Digits of a write's number in a value.
pub const SEQUENCE_DIGITS: usize = 12;
/// The numbers at the begin of each value, and its quotes.
pub const VALUE_BYTES_MIN: usize = NAME_DIGITS + 1 + SEQUENCE_DIGITS + 1 + 2;

/// So many accounts with so many keys each, which nothing else uses, not even an earlier run on the same
/// server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    scenario: String,
    base: String,
    /// Accounts.
    pub accounts: usize,
    /// Keys in each.
    pub keys: usize,
}

impl Space {
    /// A new one.
    #[must_use]
    pub fn new(scenario: &str, accounts: usize, keys: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = format!("load-{scenario}-{:x}", now.as_nanos());
        Self { scenario: scenario.to_owned(), base, accounts, keys }
    }

    /// Whether another one is for the same and has the same shape.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.scenario, self.accounts, self.keys) == (&other.scenario, other.accounts, other.keys)
    }

    /// The name of an account.
    #[must_use]
    pub fn account(&self, account: usize) -> String {
        format!("{}-{account:0NAME_DIGITS$}", self.base)
    }

    /// A request to the first account; the field that ends its path takes another one's number.
    #[must_use]
    pub fn post(&self, address: SocketAddr, route: &str, body: &str) -> Request {
        Request::post(address, &format!("/{route}/{}", self.account(0)), body)
    }
}

/// The name of a key.
#[must_use]
pub fn key_name(key: usize) -> String {
    format!("key-{key:0NAME_DIGITS$}")
}

/// The text that a connection writes as its write of this number, in a value of this size, quotes included.
#[must_use]
pub fn value_text(connection: usize, sequence: u64, value_bytes: usize) -> String {
    let numbers = format!("{connection:0NAME_DIGITS$}-{sequence:0SEQUENCE_DIGITS$}-");
    format!("{numbers:x<width$}", width = value_bytes.max(VALUE_BYTES_MIN) - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size() {
        for size in [VALUE_BYTES_MIN, 64, 10_240] {
            assert_eq!(value_text(17, 2, size).len() + 2, size);
        }
        assert!(value_text(17, 2, 30).starts_with("0000017-000000000002-x"));
        let space = Space::new("x", 2, 3);
        assert!(space.account(1).ends_with("-0000001"));
    }
}
