//! Who waits for which cell, and with which stamp in mind: what other frontends' news and the regular
//! look at the stamps are compared with. No statements, no connections.

use dragon_contract::Wakeups;
use dragon_core::cell::{Account, Cell};
use dragon_core::hash::fnv1a;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

#[derive(Debug, Default)]
pub(crate) struct Watches {
    pub(crate) wakeups: Wakeups,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    last_id: u64,
    /// By the cell's hash, then by number.
    by_hash: HashMap<u64, BTreeMap<u64, Watch>>,
}

#[derive(Debug)]
struct Watch {
    cell: Cell,
    seen: u64,
}

/// A note that someone waits; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Noted<'a> {
    watches: &'a Watches,
    hash: u64,
    id: u64,
}

impl Watches {
    /// Notes that someone waits for the cell's stamp to differ from `seen`.
    pub(crate) fn note(&self, cell: &Cell, seen: u64) -> Noted<'_> {
        let hash = fnv1a(cell.as_bytes());
        let mut watched = self.watched.lock();
        watched.last_id += 1;
        let id = watched.last_id;
        watched.by_hash.entry(hash).or_default().insert(id, Watch { cell: cell.clone(), seen });
        Noted { watches: self, hash, id }
    }

    /// Wakes who waits for cells of these hashes.
    pub(crate) fn wake_hashes(&self, hashes: impl IntoIterator<Item = u64>) {
        let watched = self.watched.lock();
        let of_hash = |hash| watched.by_hash.get(&hash).into_iter().flat_map(BTreeMap::values);
        let cells: Vec<Cell> = hashes.into_iter().flat_map(of_hash).map(|watch| watch.cell.clone()).collect();
        drop(watched);
        self.wakeups.wake(&cells);
    }

    /// The rows of the accounts in which someone waits.
    pub(crate) fn accounts(&self) -> BTreeSet<Cell> {
        let watched = self.watched.lock();
        let watches = watched.by_hash.values().flat_map(BTreeMap::values);
        let names: HashSet<&str> = watches.map(|watch| watch.cell.account_name()).collect();
        names.into_iter().filter_map(|name| Some(Cell::meta(&Account::new(name).ok()?))).collect()
    }

    /// What is waited for: cells, and the stamps that were seen.
    pub(crate) fn watched(&self) -> Vec<(Cell, u64)> {
        let watched = self.watched.lock();
        watched
            .by_hash
            .values()
            .flat_map(BTreeMap::values)
            .map(|watch| (watch.cell.clone(), watch.seen))
            .collect()
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let mut watched = self.watches.watched.lock();
        let Some(watches) = watched.by_hash.get_mut(&self.hash) else { return };
        watches.remove(&self.id);
        if watches.is_empty() {
            watched.by_hash.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dragon_core::cell::Kind;

    #[test]
    fn a_note_ends_when_it_is_dropped() {
        let watches = Watches::default();
        let cell = Cell::new(&Account::new("a").unwrap(), Kind::Value, "k");
        let first = watches.note(&cell, 1);
        let second = watches.note(&cell, 2);
        assert_eq!(watches.watched(), [(cell.clone(), 1), (cell.clone(), 2)]);
        drop(first);
        assert_eq!(watches.watched(), [(cell, 2)]);
        drop(second);
        assert!(watches.watched.lock().by_hash.is_empty());
    }
}
