//! Deleting what nobody needs any more: cells that have expired, and what frontends that are gone have left.

use crate::committer::Frontend;
use crate::failure::Failure;
use crate::rows::header_of;
use crate::writes::quietly;
use bytes::Bytes;
use dragon_contract::stored_cell;
use dragon_core::UnixMs;
use dragon_core::cell::Cell;
use dragon_core::layout;
use foundationdb::{RangeOption, Transaction};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How long a frontend that is gone may still come back and ask what became of its last batch.
const FORGOTTEN_AFTER_MS: UnixMs = 86_400_000;
/// Cells that are looked at in one transaction.
const CELLS_MAX: usize = 1_000;
const LOOKS_AT_ONCE: usize = 100;

/// The keys of the notes of what is due, and their cells.
pub(crate) async fn due(frontend: &Frontend, limit: usize) -> Result<Vec<(Bytes, Cell)>, Failure> {
    let transaction = frontend.begin()?;
    let keys = &frontend.keys;
    let due = keys.due_by(frontend.clock.now_ms());
    let range = RangeOption { limit: Some(limit.min(CELLS_MAX)), ..RangeOption::from((due.start, due.end)) };
    let mut stored = transaction.get_ranges_keyvalues(range, true);
    let mut notes = Vec::new();
    while let Some(note) = stored.try_next().await? {
        let name = keys.due_name(note.key()).unwrap_or_default();
        notes.push((Bytes::copy_from_slice(note.key()), stored_cell(Bytes::copy_from_slice(name))?));
    }
    Ok(notes)
}

/// Deletes those of the noted cells that are due, and the notes. A cell that is written anew meanwhile stays: then
/// the transaction is refused, and the others are deleted without it.
pub(crate) async fn delete_due(frontend: &Frontend, notes: Vec<(Bytes, Cell)>) -> Result<Vec<Cell>, Failure> {
    let mut deleted = Vec::new();
    let mut left = vec![notes];
    while let Some(mut notes) = left.pop() {
        match delete(frontend, &notes).await {
            Ok(cells) => deleted.extend(cells),
            Err(Failure::Conflict(_)) if notes.len() > 1 => {
                left.push(notes.split_off(notes.len() / 2));
                left.push(notes);
            }
            Err(Failure::Conflict(reason)) => tracing::debug!(reason, "a cell is left to a later sweep"),
            Err(failure) => return Err(failure),
        }
    }
    Ok(deleted)
}

async fn delete(frontend: &Frontend, notes: &[(Bytes, Cell)]) -> Result<Vec<Cell>, Failure> {
    let keys = &frontend.keys;
    let now_ms = frontend.clock.now_ms();
    let transaction = frontend.begin()?;
    transaction.get(&keys.sweeps(), false).await?;
    let looks: Vec<_> = notes.iter().map(|(_, cell)| look(frontend, &transaction, cell, now_ms)).collect();
    let mut looking = stream::iter(looks).buffered(LOOKS_AT_ONCE);
    let mut deleted = Vec::new();
    while let Some(found) = looking.try_next().await? {
        deleted.extend(found);
    }
    drop(looking);
    for (note, _) in notes {
        quietly(&transaction)?;
        transaction.clear(note);
    }
    for cell in &deleted {
        quietly(&transaction)?;
        transaction.clear(&keys.head(cell));
        let pieces = keys.pieces(cell);
        quietly(&transaction)?;
        transaction.clear_range(&pieces.start, &pieces.end);
    }
    transaction.commit().await.map_err(|error| Failure::from(*error))?;
    Ok(deleted)
}

/// The cell, if it is due. One that was written anew has another note.
async fn look(
    frontend: &Frontend,
    transaction: &Transaction,
    cell: &Cell,
    now_ms: UnixMs,
) -> Result<Option<Cell>, Failure> {
    let head = transaction.get(&frontend.keys.head(cell), false).await?;
    let at_ms = match head.as_deref().and_then(header_of) {
        Some(header) => layout::sweep_at_ms(cell, header)?,
        None => None,
    };
    Ok(at_ms.filter(|at_ms| *at_ms <= now_ms).map(|_| cell.clone()))
}

/// Forgets frontends that have given no sign of life for a day. The record of a batch is never deleted while its
/// frontend may still ask for it.
pub(crate) async fn forget_frontends(frontend: &Frontend) -> Result<(), Failure> {
    let keys = &frontend.keys;
    let transaction = frontend.begin()?;
    let range = keys.frontends();
    let mut known = transaction.get_ranges_keyvalues(RangeOption::from(range), true);
    let mut gone = Vec::new();
    while let Some(known) = known.try_next().await? {
        let seen_ms = crate::keys::u64_at(known.value(), 0).unwrap_or(0);
        if seen_ms.saturating_add(FORGOTTEN_AFTER_MS) < frontend.clock.now_ms() {
            gone.extend(keys.frontend_of(known.key()));
        }
    }
    drop(known);
    for id in &gone {
        let batches = keys.batches(*id);
        transaction.clear_range(&batches.start, &batches.end);
        transaction.clear(&keys.frontend(*id));
    }
    if !gone.is_empty() {
        transaction.commit().await.map_err(|error| Failure::from(*error))?;
    }
    Ok(())
}
