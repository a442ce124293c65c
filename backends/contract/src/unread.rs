//! Which rows a batch still needs, for stores that read them before they decide.

use bytes::Bytes;
use dragon_core::batch::{Entry, RowMap};
use dragon_core::cell::Cell;
use foldhash::fast::RandomState;
use std::collections::HashSet;

/// The cells of a batch that are not read yet, in the order in which deciding asks for them.
#[derive(Debug)]
pub struct Unread {
    cells: Vec<Cell>,
    /// How many of them the present read is about.
    reading: usize,
    /// Those of which no more than the header is looked at.
    headers: HashSet<Cell, RandomState>,
}

impl Unread {
    /// All cells that deciding these entries may ask for, each once.
    #[must_use]
    pub fn of(batch: &[Entry]) -> Self {
        let mut seen = HashSet::with_hasher(RandomState::default());
        let compared = batch.iter().flat_map(|entry| entry.request.compares());
        let mut headers: HashSet<Cell, RandomState> = compared.cloned().collect();
        if !headers.is_empty() {
            for cell in batch.iter().flat_map(|entry| entry.request.reads_whole()) {
                headers.remove(cell);
            }
        }
        let cells = batch.iter().flat_map(|entry| entry.request.reads()).filter(|cell| seen.insert(*cell));
        Self { cells: cells.cloned().collect(), reading: 0, headers }
    }

    /// Plans the next read, of at most so many cells: from the missing one on, if one is named, since what
    /// lies before it was not asked for any more. Whether there is something to read.
    pub fn begin(&mut self, missing: Option<Cell>, cells_max: usize) -> bool {
        if let Some(missing) = missing {
            match self.cells.iter().position(|cell| *cell == missing) {
                Some(at) => drop(self.cells.drain(..at)),
                // A duplicate's answer, beside another id.
                None => self.cells.insert(0, missing),
            }
        }
        self.reading = self.cells.len().min(cells_max);
        self.reading > 0
    }

    /// What to read.
    #[must_use]
    pub fn wanted(&self) -> &[Cell] {
        &self.cells[..self.reading]
    }

    /// Whether no more of a cell's row is looked at than its [header](dragon_core::layout::Header), which may then
    /// stand for it.
    #[must_use]
    pub fn is_header_enough(&self, cell: &Cell) -> bool {
        self.headers.contains(cell)
    }

    /// Takes in what was read, in the order of [`wanted`](Self::wanted): `None`, or nothing at the end, is for
    /// cells that were not.
    pub fn take_in(&mut self, found: impl IntoIterator<Item = Option<Option<Bytes>>>, rows: &mut RowMap) {
        let mut not_read = Vec::new();
        let mut found = found.into_iter();
        for cell in self.cells.drain(..self.reading) {
            match found.next().flatten() {
                Some(row) => drop(rows.insert(cell, row)),
                None => not_read.push(cell),
            }
        }
        not_read.append(&mut self.cells);
        self.cells = not_read;
    }
}
