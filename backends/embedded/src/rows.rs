//! Rows as the next batch must see them: decided but not yet durable, or durable in the log, or cached, or in
//! the database. Only who asks here has rows written, so what is not in the log can't change meanwhile.

use crate::database::Reader;
use crate::durable::Durable;
use bytes::Bytes;
use dragon_contract::{BackendError, Result};
use dragon_core::batch::RowMap;
use dragon_core::cell::Cell;
use dragon_core::verdict::Rows;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use std::collections::VecDeque;
use std::sync::Arc;

/// Memory for rows that were read lately, in bytes.
const CACHE_BYTES: u64 = 64 << 20;
/// Rows larger than this are not cached.
const CACHED_ROW_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct LatestRows {
    /// Batches that are decided but perhaps not yet durable, oldest first: number and rows.
    pending: VecDeque<(u64, Arc<RowMap>)>,
    /// What the database holds, for some cells that were not written since they were read.
    cache: Cache<Cell, Option<Bytes>, RowWeight>,
    durable: Durable,
    reader: Reader,
}

#[derive(Clone, Debug)]
struct RowWeight;

impl Weighter<Cell, Option<Bytes>> for RowWeight {
    fn weight(&self, cell: &Cell, row: &Option<Bytes>) -> u64 {
        const ENTRY_BYTES: usize = 128;
        (ENTRY_BYTES + cell.as_bytes().len() + row.as_ref().map_or(0, Bytes::len)) as u64
    }
}

impl LatestRows {
    pub(crate) fn new(durable: Durable, reader: Reader) -> Self {
        let items = usize::try_from(CACHE_BYTES / 256).unwrap_or(usize::MAX);
        let cache = Cache::with_weighter(items, CACHE_BYTES, RowWeight);
        Self { pending: VecDeque::new(), cache, durable, reader }
    }

    /// Lets go of batches that are durable by now: `durable` has their rows.
    pub(crate) fn retire(&mut self, durable: u64) {
        while self.pending.front().is_some_and(|(number, _)| *number <= durable) {
            self.pending.pop_front();
        }
    }

    /// Whether every decided batch is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes in what a batch has decided.
    pub(crate) fn decided(&mut self, number: u64, rows: Arc<RowMap>) {
        for cell in rows.keys() {
            self.cache.remove(cell);
        }
        self.pending.push_back((number, rows));
    }

    fn remember(&mut self, cell: &Cell, row: Option<&Bytes>) {
        if row.is_some_and(|row| row.len() > CACHED_ROW_BYTES_MAX) {
            self.cache.remove(cell);
        } else {
            self.cache.insert(cell.clone(), row.cloned());
        }
    }
}

impl Rows for LatestRows {
    type Error = BackendError;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>> {
        let decided = self.pending.iter().rev().find_map(|(_, rows)| rows.get(cell).cloned());
        if let Some(row) = decided.or_else(|| self.durable.row_at_hand(cell)) {
            return Ok(row);
        }
        if let Some(row) = self.cache.get(cell) {
            return Ok(row.clone());
        }
        let row = self.reader.row(cell)?;
        self.remember(cell, row.as_ref());
        Ok(row)
    }
}
