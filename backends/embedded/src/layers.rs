//! The rows that are durable in the log but not yet in the database, in memory: a layer that takes in what
//! is written, and for some time another one, which is complete and being moved. A newer layer's row
//! counts more than an older one's, and any layer's more than the database's.

use bytes::Bytes;
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use dragon_core::cell::{Account, Cell, past};
use dragon_core::layout::{self, Corrupt};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a row takes in memory besides its bytes, about.
const ROW_OVERHEAD_BYTES: usize = 200;

/// The names of a layer's rows. Only lists need them in order, so they are put in order when a list comes.
#[derive(Debug, Default)]
struct Names {
    in_order: BTreeMap<Bytes, Cell>,
    /// Those that came since.
    fresh: Vec<Cell>,
}

impl Names {
    /// Puts up to so many fresh ones in order.
    fn order(&mut self, names_max: usize) {
        let from = self.fresh.len().saturating_sub(names_max);
        self.in_order.extend(self.fresh.drain(from..).map(|cell| (cell.as_bytes().clone(), cell)));
    }
}

/// The rows of one stretch of the log.
#[derive(Debug)]
pub(crate) struct Layer {
    rows: RowMap,
    /// Leaf of the lock order.
    names: Mutex<Names>,
    bytes: usize,
    /// No row of it may be swept before; `NEVER` = none at all.
    sweep_at_ms: AtomicU64,
}

const NEVER: UnixMs = UnixMs::MAX;

impl Default for Layer {
    fn default() -> Self {
        let (rows, names) = (RowMap::default(), Mutex::default());
        Self { rows, names, bytes: 0, sweep_at_ms: AtomicU64::new(NEVER) }
    }
}

impl Layer {
    /// Takes in a row.
    ///
    /// # Errors
    /// [`Corrupt`] when the row can't be read.
    fn put(&mut self, cell: &Cell, row: Option<Bytes>) -> Result<(), Corrupt> {
        if let Some(row) = &row {
            let sweep_at_ms = layout::sweep_at_ms(cell, row)?.unwrap_or(NEVER);
            let earliest_ms = self.sweep_at_ms.get_mut();
            *earliest_ms = sweep_at_ms.min(*earliest_ms);
        }
        self.bytes += row.as_ref().map_or(0, Bytes::len);
        match self.rows.get_mut(cell) {
            Some(present) => {
                let before = std::mem::replace(present, row);
                self.bytes -= before.map_or(0, |before| before.len());
            }
            None => {
                self.bytes += cell.as_bytes().len() + ROW_OVERHEAD_BYTES;
                self.names.get_mut().fresh.push(cell.clone());
                self.rows.insert(cell.clone(), row);
            }
        }
        Ok(())
    }

    /// The rows in the order of their names.
    pub(crate) fn in_order(&self) -> Vec<(&Cell, Option<&Bytes>)> {
        let mut rows: Vec<_> = self.rows.iter().map(|(cell, row)| (cell, row.as_ref())).collect();
        rows.sort_unstable_by_key(|(cell, _)| *cell);
        rows
    }

    /// The names from one on, for as long as they are wanted.
    fn names_from(&self, from: &[u8], mut wanted: impl FnMut(&Cell) -> bool) -> Vec<Cell> {
        let mut names = self.names.lock();
        names.order(usize::MAX);
        let range = names.in_order.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        range.map(|(_, cell)| cell).take_while(|cell| wanted(cell)).cloned().collect()
    }
}

/// All layers.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    newest: Layer,
    moving: Option<Arc<Layer>>,
    /// How many layers were moved: the database changes only with it.
    pub(crate) moves: u64,
}

/// Some rows of the layers, in the order of their names.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) rows: Vec<(Cell, Option<Bytes>)>,
    /// Whether there are more behind the last one.
    pub(crate) is_cut: bool,
}

impl Layers {
    /// Takes in durable rows.
    ///
    /// # Errors
    /// [`Corrupt`] when a row can't be read.
    pub(crate) fn put_all(&mut self, rows: &RowMap) -> Result<(), Corrupt> {
        rows.iter().try_for_each(|(cell, row)| self.newest.put(cell, row.clone()))
    }

    /// Whether the database has everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.each().all(|layer| layer.rows.is_empty())
    }

    /// About how much memory the newest layer takes.
    pub(crate) fn newest_bytes(&self) -> usize {
        self.newest.bytes
    }

    /// Completes the newest layer, to be moved; not while another one is.
    pub(crate) fn freeze(&mut self) -> Option<Arc<Layer>> {
        if self.moving.is_some() {
            return None;
        }
        let layer = Arc::new(std::mem::take(&mut self.newest));
        self.moving = Some(Arc::clone(&layer));
        Some(layer)
    }

    /// Lets go of the layer that was moved: the database has its rows.
    pub(crate) fn moved(&mut self) {
        self.moving = None;
        self.moves += 1;
    }

    fn each(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.newest).chain(self.moving.as_deref())
    }

    /// Puts some of the names in order that came since the last list, and says whether there are more: a
    /// list does so in steps between which commits go on.
    pub(crate) fn order_some(&self) -> bool {
        const NAMES_MAX: usize = 4_000;
        self.each().any(|layer| {
            let mut names = layer.names.lock();
            names.order(NAMES_MAX);
            names.fresh.len() > NAMES_MAX
        })
    }

    /// The row of a cell: `None` when no layer has it, `Some(None)` when it is deleted.
    pub(crate) fn row(&self, cell: &Cell) -> Option<Option<Bytes>> {
        self.each().find_map(|layer| layer.rows.get(cell).cloned())
    }

    /// Rows whose names begin with `stem`, from a name on, deleted ones too.
    pub(crate) fn stretch(&self, from: &[u8], stem: &[u8], rows_max: usize) -> Stretch {
        let named = |layer: &Layer| {
            let mut left = rows_max.saturating_add(1);
            layer.names_from(from, |cell| {
                let is_wanted = left > 0 && cell.as_bytes().starts_with(stem);
                left = left.saturating_sub(1);
                is_wanted
            })
        };
        let mut names: Vec<Cell> = self.each().flat_map(named).collect();
        names.sort_unstable();
        names.dedup();
        let is_cut = names.len() > rows_max;
        names.truncate(rows_max);
        let row = |cell: Cell| self.row(&cell).map(|row| (cell, row));
        Stretch { rows: names.into_iter().filter_map(row).collect(), is_cut }
    }

    /// The first accounts that have a row here, from a name on.
    pub(crate) fn accounts(&self, from: &[u8], limit: usize) -> Vec<Account> {
        let mut from = from.to_vec();
        let mut accounts = Vec::new();
        while accounts.len() < limit {
            let first = |layer: &Layer| {
                let mut is_first = true;
                layer.names_from(&from, |_| std::mem::take(&mut is_first)).pop()
            };
            let Some(next) = self.each().filter_map(first).min() else { break };
            let account = next.account();
            from = past(&account);
            accounts.push(account);
        }
        accounts
    }

    /// Cells that a sweep may delete at that time. One that was found is not found again, unless its sweep
    /// left it.
    pub(crate) fn swept(&self, now_ms: UnixMs, limit: usize) -> Vec<Cell> {
        let mut cells = Vec::new();
        for layer in self.each().filter(|layer| layer.sweep_at_ms.load(Ordering::Relaxed) <= now_ms) {
            let mut earliest_ms = NEVER;
            for (cell, row) in &layer.rows {
                let sweep_at_ms = sweep_at_ms(cell, row.as_ref());
                let is_due = sweep_at_ms <= now_ms && self.is_due(cell, now_ms);
                if is_due && cells.len() < limit {
                    cells.push(cell.clone());
                } else if is_due || sweep_at_ms > now_ms {
                    earliest_ms = earliest_ms.min(sweep_at_ms);
                }
            }
            layer.sweep_at_ms.store(earliest_ms, Ordering::Relaxed);
        }
        cells
    }

    /// Whether a cell's row may be swept as a newer layer, perhaps, has left it.
    fn is_due(&self, cell: &Cell, now_ms: UnixMs) -> bool {
        self.each()
            .find_map(|layer| layer.rows.get(cell))
            .is_some_and(|row| sweep_at_ms(cell, row.as_ref()) <= now_ms)
    }
}

/// When a row may be swept.
fn sweep_at_ms(cell: &Cell, row: Option<&Bytes>) -> UnixMs {
    row.and_then(|row| layout::sweep_at_ms(cell, row).ok().flatten()).unwrap_or(NEVER)
}
