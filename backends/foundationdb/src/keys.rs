//! The keys of a store. All begin with the prefix as the tuple layer writes a text (2, the text, 0), so that
//! no store's keys begin with another's; then comes a byte for the kind:
//!
//! ```text
//! 0                                the format's number (u32)
//! 1 name                           a cell: how many further pieces (u8), then the row's first bytes
//! 1 name 0 number (u16)            a further piece of its row
//! 2 time (u64) name                when a cell is to be swept, empty
//! 3 frontend (16 bytes) lane (u8)  the number of the frontend's last batch in the lane (u64)
//! 4 frontend (16 bytes)            when it was last heard of (u64)
//! 5                                the time (u64), its pace (u8), and the commit's versionstamp (10 bytes)
//! 6                                who sweeps (16 bytes), until when (u64)
//! 7 lane (u8)                      who has claimed the lane (16 bytes), a number (u64)
//! 8                                never written: sweeps conflict here with the largest batches
//! 9 account 0 snapshot (16 bytes)  until when it is read (u64), and the account's own row at its moment
//! 10 snapshot (16 bytes) 1 …       a row that was saved for it, as after 1 above
//! ```
//!
//! Names are `dragon-core`'s: account, 0, kind, id; the id holds no 0. Integers are big-endian, times in Unix
//! milliseconds.

use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, all_of};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

const FORMAT: u8 = 0;
const CELLS: u8 = 1;
const DUE: u8 = 2;
const BATCHES: u8 = 3;
const FRONTENDS: u8 = 4;
const CLOCK: u8 = 5;
const SWEEPER: u8 = 6;
const TURNS: u8 = 7;
const SWEEPS: u8 = 8;
const SNAPSHOTS: u8 = 9;
const SAVED: u8 = 10;

pub(crate) type Key = Vec<u8>;

/// The keys of one store. Clones share the prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Arc<[u8]>);

/// What a key of a cell stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellKey<'a> {
    /// The first piece of the row of the cell of this name.
    Head(&'a [u8]),
    /// A further one.
    Piece(&'a [u8]),
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self([&[2], prefix.as_bytes(), &[0]].concat().into())
    }

    fn key(&self, kind: u8, parts: &[&[u8]]) -> Key {
        let mut key =
            Vec::with_capacity(self.0.len() + 1 + parts.iter().map(|part| part.len()).sum::<usize>());
        key.extend_from_slice(&self.0);
        key.push(kind);
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    /// Everything of this store.
    pub(crate) fn all(&self) -> Range<Key> {
        self.key(0, &[])..self.key(u8::MAX, &[])
    }

    pub(crate) fn format(&self) -> Key {
        self.key(FORMAT, &[])
    }

    pub(crate) fn head(&self, cell: &Cell) -> Key {
        self.name(cell.as_bytes())
    }

    /// Bytes of [`head`](Self::head).
    pub(crate) fn head_bytes(&self, cell: &Cell) -> usize {
        self.0.len() + 1 + cell.as_bytes().len()
    }

    /// Where a name, or a beginning of names, lies.
    pub(crate) fn name(&self, name: &[u8]) -> Key {
        self.key(CELLS, &[name])
    }

    /// The end of all cells.
    pub(crate) fn end_of_cells(&self) -> Key {
        self.key(CELLS + 1, &[])
    }

    /// A further piece of a row, from 1.
    pub(crate) fn piece(&self, cell: &Cell, number: u8) -> Key {
        self.key(CELLS, &[cell.as_bytes(), &[0, 0, number]])
    }

    /// All further pieces of a row.
    pub(crate) fn pieces(&self, cell: &Cell) -> Range<Key> {
        self.key(CELLS, &[cell.as_bytes(), &[0]])..self.key(CELLS, &[cell.as_bytes(), &[1]])
    }

    /// Reads a key of a cell.
    pub(crate) fn cell_key<'a>(&self, key: &'a [u8]) -> Option<CellKey<'a>> {
        let name = key.strip_prefix(&*self.0)?.strip_prefix(&[CELLS])?;
        let id = name.iter().position(|byte| *byte == 0)? + 2;
        match name.get(id..)?.iter().position(|byte| *byte == 0) {
            Some(end) => Some(CellKey::Piece(&name[..id + end])),
            None => Some(CellKey::Head(name)),
        }
    }

    pub(crate) fn due(&self, at_ms: UnixMs, cell: &Cell) -> Key {
        self.key(DUE, &[&at_ms.to_be_bytes(), cell.as_bytes()])
    }

    /// What is due at that time.
    pub(crate) fn due_by(&self, now_ms: UnixMs) -> Range<Key> {
        self.key(DUE, &[])..self.key(DUE, &[&now_ms.saturating_add(1).to_be_bytes()])
    }

    /// The name in a key of [`due`](Self::due).
    pub(crate) fn due_name<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(&*self.0)?.strip_prefix(&[DUE])?.get(8..)
    }

    pub(crate) fn batch(&self, frontend: Uuid, lane: usize) -> Key {
        self.key(BATCHES, &[frontend.as_bytes(), &[lane as u8]])
    }

    pub(crate) fn batches(&self, frontend: Uuid) -> Range<Key> {
        self.key(BATCHES, &[frontend.as_bytes()])..self.key(BATCHES, &[frontend.as_bytes(), &[u8::MAX]])
    }

    pub(crate) fn frontend(&self, frontend: Uuid) -> Key {
        self.key(FRONTENDS, &[frontend.as_bytes()])
    }

    pub(crate) fn frontends(&self) -> Range<Key> {
        self.key(FRONTENDS, &[])..self.key(FRONTENDS + 1, &[])
    }

    /// The frontend in a key of [`frontend`](Self::frontend).
    pub(crate) fn frontend_of(&self, key: &[u8]) -> Option<Uuid> {
        Uuid::from_slice(key.strip_prefix(&*self.0)?.strip_prefix(&[FRONTENDS])?).ok()
    }

    pub(crate) fn clock(&self) -> Key {
        self.key(CLOCK, &[])
    }

    pub(crate) fn sweeper(&self) -> Key {
        self.key(SWEEPER, &[])
    }

    pub(crate) fn sweeps(&self) -> Key {
        self.key(SWEEPS, &[])
    }

    pub(crate) fn snapshot(&self, account: &Account, id: Uuid) -> Key {
        self.key(SNAPSHOTS, &[account.as_str().as_bytes(), &[0], id.as_bytes()])
    }

    /// All snapshots of an account.
    pub(crate) fn snapshots(&self, account: &Account) -> Range<Key> {
        let names = all_of(account);
        self.key(SNAPSHOTS, &[&names.start])..self.key(SNAPSHOTS, &[&names.end])
    }

    pub(crate) fn all_snapshots(&self) -> Range<Key> {
        self.key(SNAPSHOTS, &[])..self.key(SNAPSHOTS + 1, &[])
    }

    /// The account and the snapshot in a key of [`snapshot`](Self::snapshot).
    pub(crate) fn snapshot_of(&self, key: &[u8]) -> Option<(Account, Uuid)> {
        let key = key.strip_prefix(&*self.0)?.strip_prefix(&[SNAPSHOTS])?;
        let (account, id) = key.split_at_checked(key.iter().position(|byte| *byte == 0)?)?;
        let account = Account::new(std::str::from_utf8(account).ok()?).ok()?;
        Some((account, Uuid::from_slice(id.get(1..)?).ok()?))
    }

    /// Where rows lie that were saved for a snapshot: like those of a store of their own.
    pub(crate) fn saved(&self, id: Uuid) -> Self {
        Self(self.key(SAVED, &[id.as_bytes()]).into())
    }

    pub(crate) fn turn(&self, lane: usize) -> Key {
        self.key(TURNS, &[&[lane as u8]])
    }
}

/// Reads eight bytes at that place.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dragon_core::cell::Kind;

    fn cell(kind: Kind, id: &str) -> Cell {
        Cell::new(&Account::new("a").unwrap(), kind, id)
    }

    #[test]
    fn pieces_follow_their_head_and_come_before_longer_names() {
        let keys = Keys::new("p");
        let (short, long) = (cell(Kind::Value, "k"), cell(Kind::Value, "k\u{1}"));
        let sorted = [keys.head(&short), keys.piece(&short, 1), keys.piece(&short, 11), keys.head(&long)];
        assert!(sorted.is_sorted());
        let pieces = keys.pieces(&short);
        assert!(pieces.contains(&sorted[1]) && pieces.contains(&sorted[2]));
        assert!(!pieces.contains(&sorted[0]) && !pieces.contains(&sorted[3]));
    }

    #[test]
    fn keys_read_back() {
        let keys = Keys::new("p");
        for cell in [cell(Kind::Meta, ""), cell(Kind::Value, "k"), cell(Kind::Lock, "é")] {
            let name = cell.as_bytes().as_ref();
            assert_eq!(keys.cell_key(&keys.head(&cell)), Some(CellKey::Head(name)));
            assert_eq!(keys.cell_key(&keys.piece(&cell, 3)), Some(CellKey::Piece(name)));
            assert_eq!(keys.due_name(&keys.due(7, &cell)), Some(name));
            assert!(keys.due_by(7).contains(&keys.due(7, &cell)));
            assert!(!keys.due_by(6).contains(&keys.due(7, &cell)));
        }
        let frontend = Uuid::new_v4();
        assert_eq!(keys.frontend_of(&keys.frontend(frontend)), Some(frontend));
        assert_eq!(keys.cell_key(&keys.clock()), None);
        let (account, snapshot) = (Account::new("a").unwrap(), Uuid::new_v4());
        let key = keys.snapshot(&account, snapshot);
        assert_eq!(keys.snapshot_of(&key), Some((account.clone(), snapshot)));
        assert!(keys.snapshots(&account).contains(&key) && keys.all_snapshots().contains(&key));
        assert!(!keys.snapshots(&Account::new("a-").unwrap()).contains(&key));
    }

    #[test]
    fn no_store_holds_anothers_keys() {
        let (one, other) = (Keys::new("p"), Keys::new("p-"));
        let all = one.all();
        assert!(all.contains(&one.format()) && all.contains(&one.turn(3)));
        assert!(!all.contains(&other.format()) && !all.contains(&other.turn(3)));
    }
}
