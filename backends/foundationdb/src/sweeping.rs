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

/// Deletes cells that are due, up to so many. One that is written anew meanwhile stays: then the transaction is
/// refused, and the others are deleted without it.
pub(crate) async fn delete_due(frontend: &Frontend, limit: usize) -> Result<Vec<Cell>, Failure> {
    let mut deleted = Vec::new();
    let mut left = vec![due_notes(frontend, limit.min(CELLS_MAX)).await?];
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

/// The keys of the notes of what is due.
async fn due_notes(frontend: &Frontend, limit: usize) -> Result<Vec<Bytes>, Failure> {
    let transaction = frontend.begin()?;
    let due = frontend.keys.due_by(frontend.clock.now_ms());
    let range = RangeOption { limit: Some(limit), ..RangeOption::from((due.start, due.end)) };
    let mut stored = transaction.get_ranges_keyvalues(range, true);
    let mut notes = Vec::new();
    while let Some(note) = stored.try_next().await? {
        notes.push(Bytes::copy_from_slice(note.key()));
    }
    Ok(notes)
}

/// Deletes those of the noted cells that are due, and the notes, in one transaction.
async fn delete(frontend: &Frontend, notes: &[Bytes]) -> Result<Vec<Cell>, Failure> {
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let keys = &frontend.keys;
    let now_ms = frontend.clock.now_ms();
    let transaction = frontend.begin()?;
    transaction.get(&keys.sweeps(), false).await?;
    let looks: Vec<_> = notes.iter().map(|key| look(frontend, &transaction, key, now_ms)).collect();
    let mut looking = stream::iter(looks).buffered(LOOKS_AT_ONCE);
    let mut deleted = Vec::new();
    while let Some(found) = looking.try_next().await? {
        deleted.extend(found);
    }
    drop(looking);
    for note in notes {
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

/// The cell of a note, if it is due. One that was written anew has another note.
async fn look(
    frontend: &Frontend,
    transaction: &Transaction,
    note: &[u8],
    now_ms: UnixMs,
) -> Result<Option<Cell>, Failure> {
    let name = frontend.keys.due_name(note).unwrap_or_default();
    let cell = stored_cell(Bytes::copy_from_slice(name))?;
    let head = transaction.get(&frontend.keys.head(&cell), false).await?;
    let at_ms = match head.as_deref().and_then(header_of) {
        Some(header) => layout::sweep_at_ms(&cell, header)?,
        None => None,
    };
    Ok(at_ms.filter(|at_ms| *at_ms <= now_ms).map(|_| cell))
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
