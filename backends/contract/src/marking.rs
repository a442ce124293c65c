//! Marking accounts before a sweep, for stores that sweep beside their batches.

use crate::{Backend, Result, lane_of};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::decide::Turn;
use dragon_core::request::Request;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Fixes the time marks of these cells' accounts at now. A row that is deleted because it has expired can't show
/// that any more: whoever reads then is not told to mark it, and a batch that was decided before the expiry
/// and is committed only now would bring it back to life. The marks refuse that batch.
///
/// # Errors
/// The store's. Some accounts may be marked then, which does no harm.
pub async fn mark_accounts(store: &dyn Backend, cells: &[Cell]) -> Result<()> {
    let accounts: BTreeSet<Account> = cells.iter().map(Cell::account).collect();
    let mut lanes: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    for account in accounts {
        let lane = lane_of(account.as_str(), store.lanes().max(1));
        let entry = Entry { request: Arc::new(Request::mark(account)), turn: Turn::First };
        lanes.entry(lane).or_default().push(entry);
    }
    for mut entries in lanes.into_values() {
        while !entries.is_empty() {
            let taken = store.commit(entries.as_slice().into()).await?.verdicts.len();
            drop(entries.drain(..taken.clamp(1, entries.len())));
        }
    }
    Ok(())
}
