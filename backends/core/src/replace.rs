//! Replacing an account's content, as an import does, in steps small enough for every store. The new rows are
//! staged beside the content, which goes on being served. Then the account is closed: every request is turned away,
//! the former rows are deleted, the staged ones put into their place, and the account is opened again. Each step is
//! one request of a batch. Whoever finds an account closed by a driver that is gone takes over and goes on: all it
//! needs is stored.

use crate::UnixMs;
use crate::answer::Answer;
use crate::cell::Cell;
use crate::decide::{Decision, Writes};
use crate::layout::{self, Meta, Replacement};
use crate::limits::{REVISION_MAX, REVISIONS_SKIPPED};
use crate::verdict::{Applied, Rejection, Rows, Verdict};
use bytes::Bytes;

/// One step of an import.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who carries it out: a number that grows with every change of driver. Once a driver has taken a step in an
    /// account, those of earlier ones are refused.
    pub driver: u64,
    /// What it does.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes staged rows.
    Stage(Vec<(Cell, Bytes)>),
    /// Deletes staged rows; not of a closed account. Of none it fences, and waits for what was under way.
    Discard(Vec<Cell>),
    /// Closes the account for this import, whose first driver has the same number.
    Close(u64),
    /// Deletes former rows of the closed account.
    Clear(Vec<Cell>),
    /// Notes that no former row is left.
    Cleared,
    /// Puts these staged rows into their place, after the former ones are gone. Those that are there already are left.
    Place(Vec<Cell>),
    /// Opens the account with its new content. Answers its revision from then on, as `Version`.
    Open {
        /// The revision that the content had where it comes from.
        revision: u64,
        /// The time mark that it had there.
        mark_ms: UnixMs,
        /// Whether there is no account from then on, until something is written.
        is_deleted: bool,
    },
    /// Opens the account with its former content, of which nothing was deleted yet.
    Reopen,
}

impl Step {
    /// The cells that it reads, besides the account's own row.
    pub(crate) fn read(&self) -> &[Cell] {
        match &self.action {
            Action::Place(staged) => staged,
            _ => &[],
        }
    }

    /// About how much memory and log it takes, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        match &self.action {
            Action::Stage(rows) => rows.iter().map(|(cell, row)| cell.as_bytes().len() + row.len()).sum(),
            Action::Discard(cells) | Action::Clear(cells) | Action::Place(cells) => {
                cells.iter().map(|cell| cell.as_bytes().len()).sum()
            }
            Action::Close(_) | Action::Cleared | Action::Open { .. } | Action::Reopen => 0,
        }
    }
}

/// Decides a step.
///
/// # Errors
/// Those of reading the rows.
pub(crate) fn decide_step<R: Rows>(
    step: &Step,
    account: (&Cell, Meta),
    rows: &mut R,
) -> Result<Decision, R::Error> {
    let (meta_cell, mut meta) = account;
    let mut writes: Writes = Vec::new();
    let is_taken = step.driver >= meta.driver && take(step, &mut meta, &mut writes, rows)?;
    if !is_taken {
        return Ok(Decision { verdict: Verdict::Rejected(Rejection::Replacing), writes: Vec::new() });
    }
    meta.driver = step.driver;
    writes.push((meta_cell.clone(), Some(layout::write_meta(meta))));
    let mut answer = Answer::default();
    if matches!(step.action, Action::Open { .. }) {
        answer.number("Version", meta.revision);
    }
    let verdict = Verdict::Applied(Applied { answer: answer.finish(), granted: None });
    Ok(Decision { verdict, writes })
}

/// Takes a step, unless it does not fit how far the account has come.
fn take<R: Rows>(
    Step { driver, action }: &Step,
    meta: &mut Meta,
    writes: &mut Writes,
    rows: &mut R,
) -> Result<bool, R::Error> {
    match (action, meta.replacement) {
        // A closed account needs what is staged.
        (Action::Discard(cells), Some(_)) if !cells.is_empty() => return Ok(false),
        (Action::Stage(staged), _) => {
            writes.extend(staged.iter().map(|(cell, row)| (cell.clone(), Some(row.clone()))));
        }
        (Action::Discard(cells), _) => writes.extend(cells.iter().map(|cell| (cell.clone(), None))),
        // Whoever takes an import over does not close what its former driver has opened meanwhile.
        (Action::Close(import), None) if import != driver => return Ok(false),
        (Action::Close(import), None) => {
            meta.replacement = Some(Replacement { import: *import, is_cleared: false });
        }
        (Action::Close(import), Some(before)) => return Ok(before.import == *import),
        (Action::Clear(cells), Some(Replacement { is_cleared: false, .. })) => {
            writes.extend(cells.iter().map(|cell| (cell.clone(), None)));
        }
        (Action::Cleared, Some(before)) => {
            meta.replacement = Some(Replacement { is_cleared: true, ..before });
        }
        (Action::Place(staged), Some(Replacement { is_cleared: true, .. })) => {
            for cell in staged {
                let (Some(row), Some(place)) = (rows.row(cell)?, cell.destination()) else { continue };
                writes.extend([(place, Some(row)), (cell.clone(), None)]);
            }
        }
        (Action::Open { revision, mark_ms, is_deleted }, Some(Replacement { is_cleared: true, .. })) => {
            // Of a deletion nothing newer than the account's own revision is in anybody's hands, and an older copy that is put
            // back must land above it.
            let skipped = if *is_deleted { 1 } else { REVISIONS_SKIPPED };
            let revision = meta.revision.max(*revision).saturating_add(skipped);
            meta.revision = revision.min(REVISION_MAX);
            meta.mark_ms = meta.mark_ms.max(*mark_ms);
            meta.replacement = None;
            meta.deleted = if *is_deleted { meta.revision } else { 0 };
        }
        (Action::Reopen, Some(Replacement { is_cleared: false, .. })) => meta.replacement = None,
        (Action::Clear(_) | Action::Cleared | Action::Place(_) | Action::Open { .. } | Action::Reopen, _) => {
            return Ok(false);
        }
    }
    Ok(true)
}
