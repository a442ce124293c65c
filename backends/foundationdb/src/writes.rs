//! What a batch writes: rows in pieces, and when they are to be swept.
//!
//! Batches conflict in the accounts' own rows, which each batch reads of all its accounts, and writes of those that
//! it changes. Their other rows they read as they are. Who writes one conflicts with a sweep that is about to
//! delete it; the largest batches, which have no room for so many conflicts, with all sweeps.

use crate::failure::Failure;
use crate::keys::Keys;
use crate::pieces::{HAS_PIECES, cut, further_pieces};
use crate::rows::{Found, is_in_pieces};
use bytes::Bytes;
use dragon_core::batch::RowMap;
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout;
use foundationdb::Transaction;
use foundationdb::options::{ConflictRangeType, TransactionOption};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{HashMap, HashSet};

/// What a change takes in a transaction besides its keys and values, in bytes, and what a range does.
const CHANGE_BYTES: usize = 48;
const RANGE_BYTES: usize = 25;
/// Looks for pieces that are made at once.
const LOOKS_AT_ONCE: usize = 500;
/// Larger batches conflict with all sweeps, instead of by each row that they write.
const LARGE_BYTES: usize = 5_000_000;

/// The numbers before the rows that were read, where they are not 0.
pub(crate) type Numbers = HashMap<Cell, u8, foldhash::fast::RandomState>;

/// The writes of a batch, and what was there before.
pub(crate) struct Writes<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) rows: &'a RowMap,
    /// As far as it was read.
    pub(crate) before: &'a RowMap,
    pub(crate) numbers: &'a Numbers,
}

/// Notes the number before a row.
pub(crate) fn note_number(numbers: &mut Numbers, cell: &Cell, found: &Found) {
    if found.number > 0 {
        numbers.insert(cell.clone(), found.number);
    }
}

impl Writes<'_> {
    /// Whether they conflict with all sweeps, instead of by each row: there is no room for that.
    fn are_large(&self) -> bool {
        self.bytes(false) > LARGE_BYTES
    }

    /// At least as many bytes as they take in a transaction.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes(self.are_large())
    }

    fn bytes(&self, is_large: bool) -> usize {
        let changes = self.rows.iter();
        changes.map(|(cell, row)| self.change_bytes(cell, row.as_ref(), is_large)).sum()
    }

    fn change_bytes(&self, cell: &Cell, row: Option<&Bytes>, is_large: bool) -> usize {
        // A piece's and a note's keys are longer.
        let key = self.keys.head_bytes(cell) + 8;
        let (set, clear, conflict) = (key + CHANGE_BYTES, 2 * key + CHANGE_BYTES, 2 * key + RANGE_BYTES);
        let conflicts = match (cell.kind(), is_large) {
            (Kind::Meta, _) => 2 * conflict,
            (_, false) => conflict,
            (_, true) => 0,
        };
        let may_be_cut = match cell.kind() {
            Kind::Meta => false,
            _ if self.before.contains_key(cell) => self.numbers.contains_key(cell),
            _ => self.has_pieces(cell),
        };
        let pieces = if may_be_cut { clear } else { 0 };
        let was_noted = self.before.get(cell).is_some_and(Option::is_some);
        let note = if was_noted && !is_large { clear } else { 0 };
        let written = match row {
            None => clear,
            Some(row) => {
                let note = if self.sweep_at_ms(cell, row).is_some() { set } else { 0 };
                row.len() + (1 + usize::from(further_pieces(row))) * set + note
            }
        };
        conflicts + pieces + note + written
    }

    /// Whether a cell's account has, or had, rows in several pieces.
    fn has_pieces(&self, cell: &Cell) -> bool {
        self.numbers.get(&Cell::meta(&cell.account())).is_some_and(|flags| flags & HAS_PIECES > 0)
    }

    /// A row that can't be read is not swept either.
    fn sweep_at_ms(&self, cell: &Cell, row: &Bytes) -> Option<u64> {
        layout::sweep_at_ms(cell, row).ok().flatten()
    }

    /// Puts them into the transaction.
    pub(crate) async fn apply(&self, transaction: &Transaction) -> Result<(), Failure> {
        let is_large = self.are_large();
        if is_large {
            let sweeps = self.keys.sweeps();
            let end = [sweeps.as_slice(), &[0]].concat();
            transaction.add_conflict_range(&sweeps, &end, ConflictRangeType::Write)?;
        }
        let cut_before = self.cut_before(transaction).await?;
        let cut_now: HashSet<&str> = self
            .rows
            .iter()
            .filter(|(cell, row)| {
                cell.kind() != Kind::Meta && row.as_ref().is_some_and(|row| further_pieces(row) > 0)
            })
            .map(|(cell, _)| cell.account_name())
            .collect();
        for (cell, row) in self.rows {
            self.apply_due(transaction, cell, row.as_ref(), is_large)?;
            if cut_before.contains(cell) {
                let pieces = self.keys.pieces(cell);
                quietly(transaction)?;
                transaction.clear_range(&pieces.start, &pieces.end);
            }
            if is_large && cell.kind() != Kind::Meta {
                quietly(transaction)?;
            }
            match row {
                None => transaction.clear(&self.keys.head(cell)),
                Some(row) if cell.kind() == Kind::Meta => {
                    let cut_now = if cut_now.contains(cell.account_name()) { HAS_PIECES } else { 0 };
                    let flags = self.numbers.get(cell).copied().unwrap_or_default() | cut_now;
                    transaction.set(&self.keys.head(cell), &[&[flags], row.as_ref()].concat());
                }
                Some(row) => self.apply_row(transaction, cell, row)?,
            }
        }
        Ok(())
    }

    fn apply_row(&self, transaction: &Transaction, cell: &Cell, row: &Bytes) -> Result<(), Failure> {
        let (head, further) = cut(row);
        transaction.set(&self.keys.head(cell), &head);
        for (number, piece) in further {
            quietly(transaction)?;
            transaction.set(&self.keys.piece(cell, number), piece);
        }
        Ok(())
    }

    /// Notes when the row is to be swept. What was noted for a row that was not read stays, and in large batches
    /// all that was noted: the sweep looks at the row.
    fn apply_due(
        &self,
        transaction: &Transaction,
        cell: &Cell,
        row: Option<&Bytes>,
        is_large: bool,
    ) -> Result<(), Failure> {
        let before = self.before.get(cell).and_then(Option::as_ref);
        let before_ms = before.and_then(|before| self.sweep_at_ms(cell, before));
        let now_ms = row.and_then(|row| self.sweep_at_ms(cell, row));
        if before_ms == now_ms {
            return Ok(());
        }
        if let Some(at_ms) = before_ms.filter(|_| !is_large) {
            quietly(transaction)?;
            transaction.clear(&self.keys.due(at_ms, cell));
        }
        if let Some(at_ms) = now_ms {
            quietly(transaction)?;
            transaction.set(&self.keys.due(at_ms, cell), &[]);
        }
        Ok(())
    }

    /// The written cells that were in several pieces.
    async fn cut_before(&self, transaction: &Transaction) -> Result<HashSet<Cell>, Failure> {
        let mut cut: HashSet<Cell> = self
            .rows
            .keys()
            .filter(|cell| cell.kind() != Kind::Meta && self.numbers.contains_key(*cell))
            .cloned()
            .collect();
        // Only an account that ever had such rows may have some that were not read.
        let unread = self.rows.keys().filter(|cell| {
            cell.kind() != Kind::Meta && !self.before.contains_key(*cell) && self.has_pieces(cell)
        });
        let looks: Vec<_> = unread.map(|cell| is_in_pieces(transaction, self.keys, cell)).collect();
        let mut looking = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        while let Some(found) = looking.try_next().await? {
            cut.extend(found);
        }
        Ok(cut)
    }
}

/// The next change adds no range to what the transaction conflicts by.
pub(crate) fn quietly(transaction: &Transaction) -> Result<(), Failure> {
    Ok(transaction.set_option(TransactionOption::NextWriteNoWriteConflictRange)?)
}
