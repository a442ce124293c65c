//! Names: an [`Account`], and the [`Cell`]s in it, which are all that a request can touch.

use crate::limits::ACCOUNT_BYTES_MAX;
use bytes::Bytes;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// The name of an isolated partition: 1–128 bytes of `A-Z a-z 0-9 _ . -`, but not `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(Arc<str>);

/// Before all others in the order of names.
const SYSTEM: &str = ".";

/// The text is no account name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account is 1 to 128 of the characters A-Z a-z 0-9 _ . - and neither . nor ..")]
pub struct InvalidAccount;

impl Account {
    /// The account of the servers themselves, whose name no client can give.
    #[must_use]
    pub fn system() -> Self {
        Self(SYSTEM.into())
    }

    /// Whether it is [`system`](Self::system).
    #[must_use]
    pub fn is_system(&self) -> bool {
        *self.0 == *SYSTEM
    }

    /// Checks the name.
    ///
    /// # Errors
    /// [`InvalidAccount`] when it is not one.
    pub fn new(name: &str) -> Result<Self, InvalidAccount> {
        let fits = (1..=ACCOUNT_BYTES_MAX).contains(&name.len());
        let spelled =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if fits && spelled && name != "." && name != ".." {
            Ok(Self(name.into()))
        } else {
            Err(InvalidAccount)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Account({})", self.0)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Hexadecimal digits of an import's number at the beginning of a staged cell's id.
const IMPORT_DIGITS: usize = 16;

/// The beginning of the ids of all cells that are [`staged`](Cell::staged) by an import.
#[must_use]
pub fn staged_prefix(import: u64) -> String {
    format!("{import:016x}")
}

/// The name spaces of an account. The numbers are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The account's own row: its revision and its time mark. One an account, without an id.
    Meta = 0,
    /// A value of `KVSet`.
    Value = 1,
    /// A counter of `Atomic`.
    Counter = 2,
    /// A lock.
    Lock = 3,
    /// An idempotency id.
    Idempotency = 4,
    /// A row of one of the kinds before that an import has brought, not yet in its place.
    Staged = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Meta, Self::Value, Self::Counter, Self::Lock, Self::Idempotency, Self::Staged]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The name of one stored row: account, NUL, kind, id. Its bytes sort by account, then kind, then
/// id, because an account holds no NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    bytes: Bytes,
    account_len: u8,
}

/// Where the account ends follows from the bytes.
impl Hash for Cell {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(&self.bytes);
    }
}

impl Cell {
    /// Names a cell. `id` must have been checked (UTF-8, no NUL, not too long).
    #[must_use]
    pub fn new(account: &Account, kind: Kind, id: &str) -> Self {
        Self { bytes: prefix(account, kind, id).into(), account_len: account.0.len() as u8 }
    }

    /// The account's own row.
    #[must_use]
    pub fn meta(account: &Account) -> Self {
        Self::new(account, Kind::Meta, "")
    }

    /// Where a row is kept that an import has brought for this cell, until it is put into its place.
    #[must_use]
    pub fn staged(&self, import: u64) -> Self {
        let id = format!("{}{}{}", staged_prefix(import), self.kind() as u8, self.id());
        Self::new(&self.account(), Kind::Staged, &id)
    }

    /// The cell for which this one is [`staged`](Self::staged); `None` when it is not.
    #[must_use]
    pub fn destination(&self) -> Option<Self> {
        let (kind, id) = self.id().get(IMPORT_DIGITS..)?.split_at_checked(1)?;
        let kind = Kind::from_byte(kind.parse().ok()?)?;
        (self.kind() == Kind::Staged).then(|| Self::new(&self.account(), kind, id))
    }

    /// Reads a name back from a store. `None` when the bytes are no cell's name.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let account_len = bytes.iter().take(ACCOUNT_BYTES_MAX + 1).position(|byte| *byte == 0)?;
        let cell = Self { account_len: account_len as u8, bytes };
        Kind::from_byte(*cell.bytes.get(account_len + 1)?)?;
        let account = std::str::from_utf8(&cell.bytes[..account_len]).ok()?;
        if account != SYSTEM {
            Account::new(account).ok()?;
        }
        std::str::from_utf8(&cell.bytes[account_len + 2..]).ok()?;
        Some(cell)
    }

    /// The stored name.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The account it belongs to, as text.
    #[must_use]
    pub fn account_name(&self) -> &str {
        text(&self.bytes[..usize::from(self.account_len)])
    }

    /// The account it belongs to.
    #[must_use]
    pub fn account(&self) -> Account {
        Account(self.account_name().into()) // Both constructors have seen an account.
    }

    /// The name space.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_byte(self.bytes[usize::from(self.account_len) + 1]).unwrap_or(Kind::Meta)
    }

    /// The key, lock id or idempotency id.
    #[must_use]
    pub fn id(&self) -> &str {
        text(&self.bytes[usize::from(self.account_len) + 2..])
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{:?}/{}", self.account_name(), self.kind(), self.id())
    }
}

/// The bytes with which every cell of that kind, whose id begins with `id_prefix`, begins.
#[must_use]
pub fn prefix(account: &Account, kind: Kind, id_prefix: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(account.0.len() + 2 + id_prefix.len());
    bytes.extend_from_slice(account.0.as_bytes());
    bytes.extend_from_slice(&[0, kind as u8]);
    bytes.extend_from_slice(id_prefix.as_bytes());
    bytes
}

/// The bytes from which on no cell is this account's, nor of one before it: its name, then a byte above
/// the NUL.
#[must_use]
pub fn past(account: &Account) -> Vec<u8> {
    [account.0.as_bytes(), &[1]].concat()
}

/// The stored names of all of an account's cells, its own row first, lie in here.
#[must_use]
pub fn all_of(account: &Account) -> Range<Vec<u8>> {
    [account.0.as_bytes(), &[0]].concat()..past(account)
}

/// Both constructors have seen UTF-8, so the fallback is never taken.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_checked() {
        for good in ["a", "A-1_b.c", "...", &"x".repeat(128)] {
            assert!(Account::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "é", "a\0", &"x".repeat(129)] {
            assert!(Account::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cells_sort_by_account_kind_id_and_read_back() {
        let names = [
            ("a", Kind::Meta, ""),
            ("a", Kind::Value, "z"),
            ("a", Kind::Lock, "b"),
            ("a-", Kind::Value, "é"),
        ];
        let cells: Vec<Cell> = names
            .iter()
            .map(|(account, kind, id)| Cell::new(&Account::new(account).unwrap(), *kind, id))
            .collect();
        assert!(cells.is_sorted());
        for (cell, (account, kind, id)) in cells.iter().zip(names) {
            let back = Cell::from_bytes(cell.as_bytes().clone()).unwrap();
            assert_eq!((back.account_name(), back.kind(), back.id()), (account, kind, id));
        }
        let system = Cell::new(&Account::system(), Kind::Value, "k");
        assert_eq!(Cell::from_bytes(system.as_bytes().clone()), Some(system));
        let staged = cells[3].staged(0x1f4);
        assert_eq!((staged.id(), staged.destination()), ("00000000000001f41é", Some(cells[3].clone())));
        assert!(staged.id().starts_with(&staged_prefix(0x1f4)));
        assert_eq!(cells[3].destination(), None);
        for bad in [&b"a"[..], b"a\0", b"a\0\x09k", b"\0\x01k", b"a\0\x01\xff"] {
            assert_eq!(Cell::from_bytes(Bytes::copy_from_slice(bad)), None);
        }
    }
}
