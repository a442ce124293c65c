//! Saving rows for the snapshots under way, in transactions of their own, before a batch overwrites or deletes them.

use crate::committer::{Frontend, Prepared};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::pieces::{IS_BEING_READ, cut};
use crate::rows::{self, read_all};
use crate::snapshots::{Note, clear, notes};
use crate::writes::quietly;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::layout;
use foundationdb::Transaction;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// Cells that are looked at, or saved, at once.
const CELLS_MAX: usize = 500;
/// Bytes of rows that are saved in one transaction, about.
const SAVE_BYTES_MAX: usize = 4_000_000;

/// Rows that a batch would overwrite although a snapshot still needs them.
#[derive(Debug)]
pub(crate) struct Unsaved {
    account: Account,
    note: Note,
    cells: Vec<Cell>,
}

/// Looks, in the batch's transaction, whether all rows are saved that it overwrites. Takes away what is noted of
/// snapshots that were given up.
pub(crate) async fn check(
    frontend: &Frontend,
    transaction: &Transaction,
    prepared: &mut Prepared,
) -> Result<(), Failure> {
    // Whatever changes an account writes its own row.
    let being_read = |cell: &&Cell| {
        cell.kind() == Kind::Meta
            && prepared.numbers.get(*cell).is_some_and(|number| number & IS_BEING_READ > 0)
    };
    let metas: Vec<Cell> = prepared.writes.keys().filter(being_read).cloned().collect();
    let mut all_unsaved = Vec::new();
    for meta in metas {
        let account = meta.account();
        let noted = notes(transaction, &frontend.keys, &account, true).await?;
        let now_ms = frontend.clock.now_ms();
        // An import puts rows into their place whose revisions tell nothing of when they came there.
        let written = prepared.writes.get(&meta).and_then(Option::as_ref);
        let is_replaced = layout::read_meta(&meta, written)?.replacement.is_some();
        let is_over = |note: &Note| is_replaced || note.is_over(now_ms);
        let (over, live): (Vec<Note>, Vec<Note>) = noted.into_iter().partition(is_over);
        over.iter().for_each(|note| clear(transaction, &frontend.keys, &account, note.id));
        if live.is_empty() {
            prepared.numbers.entry(meta).and_modify(|number| *number &= !IS_BEING_READ);
        }
        for note in live {
            let cells = unsaved(&frontend.keys, transaction, prepared, &account, &note).await?;
            if !cells.is_empty() {
                all_unsaved.push(Unsaved { account: account.clone(), note, cells });
            }
        }
    }
    if all_unsaved.is_empty() { Ok(()) } else { Err(Failure::Unsaved(all_unsaved)) }
}

/// The cells of an account that are written, and not saved for a snapshot that needs them.
async fn unsaved(
    keys: &Keys,
    transaction: &Transaction,
    prepared: &Prepared,
    account: &Account,
    note: &Note,
) -> Result<Vec<Cell>, Failure> {
    let (revision, saved) = (note.revision(account)?, keys.saved(note.id));
    let written = prepared.writes.keys();
    let is_content = |cell: &&Cell| !matches!(cell.kind(), Kind::Meta | Kind::Staged);
    let written = written.filter(is_content).filter(|cell| cell.account_name() == account.as_str());
    let looks: Vec<_> = written
        .map(async |cell| {
            let stamp = match prepared.before.get(cell) {
                Some(row) => layout::stamp(cell, row.as_ref())?,
                None => rows::stamp(transaction, keys, cell).await?,
            };
            let is_needed = (1..=revision).contains(&stamp);
            let is_unsaved = is_needed && transaction.get(&saved.head(cell), true).await?.is_none();
            Ok::<_, Failure>(is_unsaved.then(|| cell.clone()))
        })
        .collect();
    let found: Vec<Option<Cell>> = stream::iter(looks).buffer_unordered(CELLS_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Saves them.
pub(crate) async fn save(frontend: &Frontend, all_unsaved: &[Unsaved]) -> Result<(), Failure> {
    for unsaved in all_unsaved {
        let mut cells = unsaved.cells.as_slice();
        while !cells.is_empty() {
            let saved = save_some(frontend, unsaved, &cells[..cells.len().min(CELLS_MAX)]).await?;
            cells = &cells[saved.clamp(1, cells.len())..];
        }
    }
    Ok(())
}

/// Saves the first ones, and says how many.
async fn save_some(frontend: &Frontend, unsaved: &Unsaved, cells: &[Cell]) -> Result<usize, Failure> {
    let (keys, Unsaved { account, note, .. }) = (&frontend.keys, unsaved);
    let transaction = frontend.begin()?;
    // No batch changes the rows meanwhile, and the snapshot does not end.
    transaction.get(&keys.head(&Cell::meta(account)), false).await?;
    if transaction.get(&keys.snapshot(account, note.id), false).await?.is_none() {
        return Ok(cells.len());
    }
    let found = read_all(&transaction, keys, cells, SAVE_BYTES_MAX).await?;
    let (revision, saved) = (note.revision(account)?, keys.saved(note.id));
    for (cell, found) in cells.iter().zip(&found) {
        let Some(row) = &found.row else { continue };
        // Another frontend may have saved and overwritten it.
        if layout::stamp(cell, Some(row))? > revision {
            continue;
        }
        let (head, further) = cut(row);
        quietly(&transaction)?;
        transaction.set(&saved.head(cell), &head);
        for (number, piece) in further {
            quietly(&transaction)?;
            transaction.set(&saved.piece(cell, number), piece);
        }
    }
    transaction.commit().await?;
    frontend.metrics.saved_rows.inc_by(found.len() as u64);
    Ok(found.len())
}
