//! What is durable, as one: the layers over the database. Reads happen at one moment although the two are
//! looked at one after the other: while the layers are looked at, under their lock, the database's present
//! state is pinned. What it lacks of a layer that is being moved, or has already, the look has seen.

use crate::database::Reader;
use crate::layers::Layers;
use crate::snapshot::AccountRows;
use bytes::Bytes;
use dragon_contract::{AccountsPage, LOAD_BYTES_MAX, Result};
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, all_of, past};
use dragon_core::page::{Page, Query};
use parking_lot::Mutex;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Rows of the layers that are counted at once, under their lock; of the database ten times as many.
const COUNTED_ROWS: usize = 1_000;

/// The durable rows. Clones share them. Lock order: a reader's lock before the one here, which is a leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable(pub(crate) Arc<Mutex<Layers>>);

impl Durable {
    /// Reads layers and database at one moment.
    fn at_one_moment<L, T>(
        &self,
        reader: &mut Reader,
        look: impl FnOnce(&Layers) -> L,
        read: impl FnOnce(&Reader, L) -> Result<T>,
    ) -> Result<T> {
        reader.in_transaction(|reader| {
            let looked = {
                let layers = self.0.lock();
                reader.pin()?;
                look(&layers)
            };
            read(reader, looked)
        })
    }

    /// The row of a cell, if the layers can tell.
    pub(crate) fn row_at_hand(&self, cell: &Cell) -> Option<Option<Bytes>> {
        self.0.lock().row(cell)
    }

    /// Rows that the layers alone can tell: `None` when the database has to be asked.
    pub(crate) fn rows_at_hand(&self, cells: &[Cell]) -> Option<Vec<Option<Bytes>>> {
        let layers = self.0.lock();
        let rows: Option<Vec<_>> = cells.iter().map(|cell| layers.row(cell)).collect();
        let bytes = |rows: &Vec<Option<Bytes>>| rows.iter().flatten().map(Bytes::len).sum::<usize>();
        rows.filter(|rows| bytes(rows) <= LOAD_BYTES_MAX)
    }

    /// Rows, cut short after [`LOAD_BYTES_MAX`] bytes.
    pub(crate) fn rows(&self, reader: &mut Reader, cells: &[Cell]) -> Result<Vec<Option<Bytes>>> {
        let look = |layers: &Layers| cells.iter().map(|cell| layers.row(cell)).collect::<Vec<_>>();
        self.at_one_moment(reader, look, |reader, looked| {
            let mut rows = Vec::with_capacity(cells.len());
            let mut bytes = 0;
            for (cell, looked) in cells.iter().zip(looked) {
                if bytes > LOAD_BYTES_MAX {
                    break;
                }
                let row = looked.map_or_else(|| reader.row(cell), Ok)?;
                bytes += row.as_ref().map_or(0, Bytes::len);
                rows.push(row);
            }
            Ok(rows)
        })
    }

    /// Puts most of the layers' names in order, so that a look at them is short.
    fn order_names(&self) {
        while self.0.lock().order_some() {}
    }

    /// One page of a name space.
    pub(crate) fn page(&self, reader: &mut Reader, query: &Query, now_ms: UnixMs) -> Result<Page> {
        let (names, stem, meta) = (query.from()..query.end(), query.stem(), query.meta());
        self.order_names();
        // Enough, unless most of them were deleted or have expired.
        let mut rows_max = 2 * query.entries_max + 1;
        loop {
            let look = |layers: &Layers| (layers.row(&meta), layers.stretch(&names.start, &stem, rows_max));
            let page = self.at_one_moment(reader, look, |reader, (meta_row, stretch)| {
                let meta_row = meta_row.map_or_else(|| reader.row(&meta), Ok)?;
                let mut page = Page::begin(query, meta_row.as_ref(), now_ms)?;
                let is_full = merge(reader, &names, (stretch.rows, stretch.is_cut), |cell, row| {
                    Ok(page.push(cell, row)?)
                })?;
                Ok(is_full.then_some(page))
            })?;
            if let Some(page) = page {
                return Ok(page);
            }
            // A longer look, at a new moment.
            rows_max = rows_max.saturating_mul(8);
        }
    }

    /// A page of accounts.
    pub(crate) fn accounts(
        &self,
        reader: &mut Reader,
        after: Option<&Account>,
        limit: usize,
    ) -> Result<AccountsPage> {
        let from = after.map_or_else(Vec::new, past);
        self.order_names();
        let look = |layers: &Layers| layers.accounts(&from, limit + 1);
        self.at_one_moment(reader, look, |reader, mut accounts| {
            let mut from = from.clone();
            for _ in 0..=limit {
                let mut next = None;
                reader.scan(&from, |cell, _| {
                    next = Some(cell);
                    Ok(ControlFlow::Break(()))
                })?;
                let Some(account) = next.map(|cell| cell.account()) else { break };
                from = past(&account);
                accounts.push(account);
            }
            accounts.sort_unstable();
            accounts.dedup();
            let more = accounts.len() > limit;
            accounts.truncate(limit);
            Ok(AccountsPage { accounts, more })
        })
    }

    /// All rows of an account as of now. The reader is the snapshot's own from here on.
    pub(crate) fn snapshot(&self, reader: Reader, account: &Account) -> Result<AccountRows> {
        let names = all_of(account);
        self.order_names();
        reader.begin()?;
        let layered = {
            let layers = self.0.lock();
            reader.pin()?;
            layers.stretch(&names.start, &names.start, usize::MAX)
        };
        Ok(AccountRows::new(reader, names, layered.rows))
    }

    /// How many bytes the rows of the first of these names have, names included. The names are those that are left, then: of
    /// each step it is told as of one moment.
    pub(crate) fn next_stored_bytes(
        &self,
        reader: &mut Reader,
        account: &Account,
        names: &mut Range<Vec<u8>>,
    ) -> Result<u64> {
        self.order_names();
        let stem = all_of(account).start;
        let from = names.start.clone();
        let look = |layers: &Layers| layers.stretch(&from, &stem, COUNTED_ROWS);
        self.at_one_moment(reader, look, |reader, mut layered| {
            let mut step = names.clone();
            if let (true, Some((last, _))) = (layered.is_cut, layered.rows.last()) {
                step.end = [last.as_bytes().as_ref(), &[0]].concat();
            }
            let (mut bytes, end) = reader.bytes_of_first(&step, 10 * COUNTED_ROWS)?;
            layered.rows.retain(|(cell, _)| cell.as_bytes() < end.as_slice());
            for (cell, row) in layered.rows {
                bytes -= reader.bytes_of(&cell)?;
                bytes += row.map_or(0, |row| cell.as_bytes().len() + row.len()) as u64;
            }
            names.start = end;
            Ok(bytes)
        })
    }

    /// Cells that a sweep may delete at that time. The cursor goes on where the last sweep ended, since the
    /// database shows what was swept until that is moved.
    pub(crate) fn swept(
        &self,
        reader: &Reader,
        cursor: &mut SweepCursor,
        now_ms: UnixMs,
        limit: usize,
    ) -> Result<Vec<Cell>> {
        let (mut cells, moves) = {
            let layers = self.0.lock();
            (layers.swept(now_ms, limit), layers.moves)
        };
        if cursor.moves != moves {
            *cursor = SweepCursor { moves, ..SweepCursor::default() };
        }
        if cells.len() == limit {
            return Ok(cells);
        }
        let after = (cursor.sweep_at_ms, cursor.name.clone());
        reader.swept(now_ms, &after, |sweep_at_ms, cell| {
            (cursor.sweep_at_ms, cursor.name) = (sweep_at_ms, cell.as_bytes().to_vec());
            // What a layer has was written since, and perhaps swept.
            if self.0.lock().row(&cell).is_none() {
                cells.push(cell);
            }
            if cells.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(cells)
    }
}

/// How far a sweep of the database has come.
#[derive(Debug, Default)]
pub(crate) struct SweepCursor {
    /// How many layers had been moved: after the next one it begins anew.
    moves: u64,
    sweep_at_ms: UnixMs,
    name: Vec<u8>,
}

/// Hands the rows of database and layers to `visit` in the order of their names, a layer's row in place of
/// the database's. Returns whether that was all, or `visit` had enough: not when the layers' rows are cut before.
pub(crate) fn merge(
    reader: &Reader,
    names: &Range<Vec<u8>>,
    (layered, is_cut): (impl IntoIterator<Item = (Cell, Option<Bytes>)>, bool),
    mut visit: impl FnMut(Cell, Bytes) -> Result<ControlFlow<()>>,
) -> Result<bool> {
    let mut is_full = false;
    let mut layered = layered.into_iter().peekable();
    reader.scan(&names.start, |stored_cell, stored_row| {
        if stored_cell.as_bytes() >= names.end.as_slice() {
            return Ok(ControlFlow::Break(()));
        }
        let mut stored = Some(stored_row);
        while let Some((cell, row)) = layered.next_if(|(cell, _)| *cell <= stored_cell) {
            if cell == stored_cell {
                stored = None;
            }
            if let Some(row) = row
                && visit(cell, row)?.is_break()
            {
                is_full = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        if is_cut && layered.peek().is_none() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(row) = stored
            && visit(stored_cell, row)?.is_break()
        {
            is_full = true;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for (cell, row) in layered {
        if is_full {
            break;
        }
        if let Some(row) = row {
            is_full = visit(cell, row)?.is_break();
        }
    }
    Ok(is_full || !is_cut)
}
