//! Deleting cells that have expired.

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

/// Cells that are looked at in one transaction.
const CELLS_MAX: usize = 1_000;
const LOOKS_AT_ONCE: usize = 100;

/// A note that a cell is to be swept.
#[derive(Debug)]
pub(crate) struct Note {
    key: Bytes,
    pub(crate) cell: Cell,
    /// Whether the cell is; otherwise it was written anew, and has another note.
    pub(crate) is_due: bool,
}

/// The first notes of what is due at that time. One whose row can't be read is passed over.
pub(crate) async fn due(frontend: &Frontend, now_ms: UnixMs, limit: usize) -> Result<Vec<Note>, Failure> {
    let transaction = frontend.begin()?;
    let keys = &frontend.keys;
    let due = keys.due_by(now_ms);
    let range = RangeOption { limit: Some(limit.min(CELLS_MAX)), ..RangeOption::from((due.start, due.end)) };
    let mut stored = transaction.get_ranges_keyvalues(range, true);
    let mut noted = Vec::new();
    while let Some(note) = stored.try_next().await? {
        let name = keys.due_name(note.key()).unwrap_or_default();
        match stored_cell(Bytes::copy_from_slice(name)) {
            Ok(cell) => noted.push((Bytes::copy_from_slice(note.key()), cell)),
            Err(error) => tracing::warn!(%error, "a sweep passes a note over"),
        }
    }
    let looks: Vec<_> =
        noted.iter().map(|(_, cell)| look(frontend, &transaction, cell, now_ms, true)).collect();
    let looks: Vec<Look> = stream::iter(looks).buffered(LOOKS_AT_ONCE).try_collect().await?;
    let notes = noted.into_iter().zip(looks).filter(|(_, look)| *look != Look::Unreadable);
    Ok(notes.map(|((key, cell), look)| Note { key, cell, is_due: look == Look::Due }).collect())
}

/// Deletes those of the noted cells that are due at that time, and the notes. A cell that is written anew
/// meanwhile stays: then the transaction is refused, and the others are deleted without it.
pub(crate) async fn delete_due(
    frontend: &Frontend,
    notes: Vec<Note>,
    now_ms: UnixMs,
) -> Result<Vec<Cell>, Failure> {
    let mut deleted = Vec::new();
    let mut left = vec![notes];
    while let Some(mut notes) = left.pop() {
        match delete(frontend, &notes, now_ms).await {
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

async fn delete(frontend: &Frontend, notes: &[Note], now_ms: UnixMs) -> Result<Vec<Cell>, Failure> {
    let keys = &frontend.keys;
    let transaction = frontend.begin()?;
    transaction.get(&keys.sweeps(), false).await?;
    // Of a cell that was not due before the accounts were marked, only the note goes.
    let due = notes.iter().filter(|note| note.is_due).map(|note| &note.cell);
    let due: Vec<&Cell> = due.collect();
    let looks: Vec<_> = due.iter().map(|cell| look(frontend, &transaction, cell, now_ms, false)).collect();
    let mut looking = stream::iter(looks).buffered(LOOKS_AT_ONCE);
    let mut deleted = Vec::new();
    for cell in due {
        if looking.try_next().await? == Some(Look::Due) {
            deleted.push(cell.clone());
        }
    }
    drop(looking);
    for note in notes {
        quietly(&transaction)?;
        transaction.clear(&note.key);
    }
    for cell in &deleted {
        quietly(&transaction)?;
        transaction.clear(&keys.head(cell));
        let pieces = keys.pieces(cell);
        quietly(&transaction)?;
        transaction.clear_range(&pieces.start, &pieces.end);
    }
    transaction.commit().await?;
    Ok(deleted)
}

/// What a noted cell is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Due,
    NotDue,
    Unreadable,
}

async fn look(
    frontend: &Frontend,
    transaction: &Transaction,
    cell: &Cell,
    now_ms: UnixMs,
    is_snapshot: bool,
) -> Result<Look, Failure> {
    let head = transaction.get(&frontend.keys.head(cell), is_snapshot).await?;
    let Some(header) = head.as_deref().map(|head| header_of(head).unwrap_or_default()) else {
        return Ok(Look::NotDue);
    };
    Ok(match layout::sweep_at_ms(cell, header) {
        Ok(at_ms) if at_ms.is_some_and(|at_ms| at_ms <= now_ms) => Look::Due,
        Ok(_) => Look::NotDue,
        Err(error) => {
            tracing::warn!(%error, "a sweep passes a row over");
            Look::Unreadable
        }
    })
}
