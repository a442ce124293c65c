//! An account as of one moment, although a transaction can read for five seconds only. A small account is read in
//! one. A larger one is noted as being read, with its revision at that moment, and read page by page, each page at
//! a version of its own; whoever overwrites or deletes a row that is not newer saves it first (`saving`). A page is
//! the rows that are there and not newer, and those that were saved, all at the page's version: together what was
//! there at that moment, so no request is torn.
//!
//! A note ends when all was read, when an import replaces the account's content, or by itself when nothing was read for
//! a minute. A batch that finds it over takes
//! it away; then there is no more to be had from that snapshot.

use crate::committer::Frontend;
use crate::failure::Failure;
use crate::keys::{Key, Keys, u64_at};
use crate::pages::each_row;
use crate::pieces::IS_BEING_READ;
use crate::rows::split_head;
use crate::store::read;
use bytes::Bytes;
use dragon_contract::{BackendError, Gathered, NamedRow, Result, SNAPSHOT_STEP_BYTES, Snapshot, jittered};
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, all_of};
use dragon_core::layout;
use foundationdb::{RangeOption, Transaction};
use futures_util::TryStreamExt as _;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// An account up to this size is read in one transaction, and held in memory.
const SMALL_BYTES: usize = 4 << 20;
/// Milliseconds after which a snapshot of which nothing was read is given up.
const IDLE_MS_MAX: UnixMs = 90_000;
/// So much of it is left after each step, at least.
const LEFT_MS_MIN: UnixMs = 60_000;
/// Snapshots of one account under way: each may have a batch read and decided once more.
const SNAPSHOTS_MAX: usize = 4;
/// Tries of a transaction that others were in the way of, and the longest pause between two.
const TRIES: usize = 100;
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What is noted of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) id: Uuid,
    until_ms: UnixMs,
    /// The account's own row as it was at the moment.
    meta: Bytes,
}

impl Note {
    /// Whether the snapshot was given up.
    pub(crate) fn is_over(&self, now_ms: UnixMs) -> bool {
        self.until_ms < now_ms
    }

    /// Its moment.
    pub(crate) fn revision(&self, account: &Account) -> std::result::Result<u64, Failure> {
        Ok(layout::read_meta(&Cell::meta(account), Some(&self.meta))?.revision)
    }

    fn from_stored(id: Uuid, stored: &[u8]) -> Option<Self> {
        let (until_ms, meta) = (u64_at(stored, 0)?, Bytes::copy_from_slice(stored.get(8..)?));
        Some(Self { id, until_ms, meta })
    }

    fn store(&self, transaction: &Transaction, key: &Key) {
        transaction.set(key, &[&self.until_ms.to_be_bytes(), self.meta.as_ref()].concat());
    }
}

/// What is noted of an account. The rows read with it must be of the same transaction.
pub(crate) async fn notes(
    transaction: &Transaction,
    keys: &Keys,
    account: &Account,
    is_snapshot: bool,
) -> std::result::Result<Vec<Note>, Failure> {
    let mut stored =
        transaction.get_ranges_keyvalues(RangeOption::from(keys.snapshots(account)), is_snapshot);
    let mut notes = Vec::new();
    while let Some(next) = stored.try_next().await? {
        let note = keys.snapshot_of(next.key()).and_then(|(_, id)| Note::from_stored(id, next.value()));
        let damaged = || BackendError::Corrupt(format!("a note of a snapshot of {account} can't be read"));
        notes.push(note.ok_or_else(damaged)?);
    }
    Ok(notes)
}

/// Takes a note away, and what was saved for it.
pub(crate) fn clear(transaction: &Transaction, keys: &Keys, account: &Account, id: Uuid) {
    let saved = keys.saved(id).all();
    transaction.clear_range(&saved.start, &saved.end);
    transaction.clear(&keys.snapshot(account, id));
}

/// Begins one.
pub(crate) async fn begin(frontend: &Frontend, account: &Account) -> Result<Box<dyn Snapshot>> {
    if let Some(rows) = read(|| read_small(frontend, account)).await? {
        return Ok(Box::new(Gathered::new(rows)));
    }
    let Some(note) = note(frontend, account).await? else {
        return Ok(Box::new(Gathered::new([])));
    };
    let (frontend, names) = (frontend.clone(), all_of(account));
    let revision = note.revision(account)?;
    Ok(Box::new(PagedSnapshot { frontend, account: account.clone(), revision, note, names }))
}

/// All rows of an account, unless there are too many.
async fn read_small(
    frontend: &Frontend,
    account: &Account,
) -> std::result::Result<Option<Vec<NamedRow>>, Failure> {
    let transaction = frontend.begin()?;
    let (rows, is_cut) = some_rows(&transaction, &frontend.keys, &all_of(account), SMALL_BYTES).await?;
    Ok((!is_cut).then_some(rows))
}

/// The first rows of these names, up to about so many bytes, and whether there are more.
async fn some_rows(
    transaction: &Transaction,
    keys: &Keys,
    names: &Range<Vec<u8>>,
    bytes_max: usize,
) -> std::result::Result<(Vec<NamedRow>, bool), Failure> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let is_cut = each_row(transaction, keys, names, |cell, row| {
        if bytes >= bytes_max {
            return Ok(ControlFlow::Break(()));
        }
        bytes += cell.as_bytes().len() + row.len();
        rows.push((cell, row));
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok((rows, is_cut))
}

/// Tries a transaction again as long as others are in the way.
async fn persist<T, Trying>(trying: impl Fn() -> Trying) -> Result<T>
where
    Trying: Future<Output = std::result::Result<T, Failure>>,
{
    for _ in 1..TRIES {
        match read(&trying).await {
            Err(BackendError::Busy(_)) => sleep(jittered(PAUSE_MAX)).await,
            done => return done,
        }
    }
    read(&trying).await
}

/// Notes that an account is being read, as it is now; `None`: it is not there.
async fn note(frontend: &Frontend, account: &Account) -> Result<Option<Note>> {
    let noting = async || {
        let (keys, meta) = (&frontend.keys, Cell::meta(account));
        let transaction = frontend.begin()?;
        let Some(head) = transaction.get(&keys.head(&meta), false).await? else { return Ok(None) };
        let (number, row) = split_head(&meta, &head)?;
        if notes(&transaction, keys, account, false).await?.len() >= SNAPSHOTS_MAX {
            let reason = format!("{SNAPSHOTS_MAX} exports of the account are under way already");
            return Err(Failure::Final(BackendError::Busy(reason)));
        }
        // An attempt whose fate is not known may have noted another moment: so each has a name of its own.
        let until_ms = frontend.clock.now_ms() + IDLE_MS_MAX;
        let note = Note { id: Uuid::new_v4(), until_ms, meta: Bytes::copy_from_slice(row) };
        note.store(&transaction, &keys.snapshot(account, note.id));
        transaction.set(&keys.head(&meta), &[&[number | IS_BEING_READ], row].concat());
        transaction.commit().await?;
        Ok(Some(note))
    };
    persist(noting).await
}

/// Takes notes of an account away, and with the last one that it is being read.
async fn end(frontend: &Frontend, account: &Account, are_over: impl Fn(&Note) -> bool) -> Result<()> {
    let ending = async || {
        let (keys, meta) = (&frontend.keys, Cell::meta(account));
        let transaction = frontend.begin()?;
        let (over, others): (Vec<Note>, Vec<Note>) =
            notes(&transaction, keys, account, false).await?.into_iter().partition(|note| are_over(note));
        if over.is_empty() {
            return Ok(());
        }
        over.iter().for_each(|note| clear(&transaction, keys, account, note.id));
        if others.is_empty()
            && let Some(head) = transaction.get(&keys.head(&meta), false).await?
        {
            let (number, row) = split_head(&meta, &head)?;
            transaction.set(&keys.head(&meta), &[&[number & !IS_BEING_READ], row].concat());
        }
        transaction.commit().await?;
        Ok(())
    };
    persist(ending).await
}

/// Takes all notes away that nobody reads for any more.
pub(crate) async fn end_abandoned(frontend: &Frontend) -> Result<()> {
    let now_ms = frontend.clock.now_ms();
    let over = async || {
        let transaction = frontend.begin()?;
        let all = RangeOption::from(frontend.keys.all_snapshots());
        let mut stored = transaction.get_ranges_keyvalues(all, true);
        let mut over = Vec::new();
        while let Some(next) = stored.try_next().await? {
            let Some((account, id)) = frontend.keys.snapshot_of(next.key()) else { continue };
            if Note::from_stored(id, next.value()).is_some_and(|note| note.is_over(now_ms)) {
                over.push(account);
            }
        }
        Ok(over)
    };
    for account in read(over).await? {
        end(frontend, &account, |note| note.is_over(now_ms)).await?;
    }
    Ok(())
}

/// One that is read page by page.
struct PagedSnapshot {
    frontend: Frontend,
    account: Account,
    revision: u64,
    note: Note,
    /// The account's names from the next one on.
    names: Range<Vec<u8>>,
}

impl PagedSnapshot {
    /// A page, and the cell up to which it goes: `None` = it is the last one.
    async fn page(&self) -> std::result::Result<(Vec<NamedRow>, Option<Cell>), Failure> {
        let Frontend { keys, .. } = &self.frontend;
        let transaction = self.frontend.begin()?;
        let saved_keys = keys.saved(self.note.id);
        let note = keys.snapshot(&self.account, self.note.id);
        let (note, (present, is_cut), (saved, is_saved_cut)) = futures_util::try_join!(
            async { Ok(transaction.get(&note, true).await?) },
            some_rows(&transaction, keys, &self.names, SNAPSHOT_STEP_BYTES),
            some_rows(&transaction, &saved_keys, &self.names, SNAPSHOT_STEP_BYTES),
        )?;
        if note.is_none() {
            let reason = "the snapshot was given up: nothing was read of it for a minute, or an import came";
            return Err(Failure::Unavailable(reason.into()));
        }
        let last =
            |rows: &[NamedRow], is_cut: bool| rows.last().filter(|_| is_cut).map(|(cell, _)| cell.clone());
        let bounds = [last(&present, is_cut), last(&saved, is_saved_cut)];
        let bound = bounds.into_iter().flatten().min();
        let is_within = |cell: &Cell| bound.as_ref().is_none_or(|bound| cell <= bound);
        let mut rows = BTreeMap::new();
        for (cell, row) in present.into_iter().filter(|(cell, _)| is_within(cell)) {
            if layout::stamp(&cell, Some(&row))? <= self.revision {
                rows.insert(cell, row);
            }
        }
        rows.extend(saved.into_iter().filter(|(cell, _)| is_within(cell)));
        let meta = Cell::meta(&self.account);
        if self.names.contains(&meta.as_bytes().to_vec()) {
            rows.insert(meta, self.note.meta.clone());
        }
        Ok((rows.into_iter().collect(), bound))
    }

    /// Says that it is still being read.
    async fn renew(&mut self) -> Result<()> {
        let now_ms = self.frontend.clock.now_ms();
        if self.note.until_ms.saturating_sub(now_ms) > LEFT_MS_MIN {
            return Ok(());
        }
        let note = Note { until_ms: now_ms + IDLE_MS_MAX, ..self.note.clone() };
        let key = self.frontend.keys.snapshot(&self.account, note.id);
        let renewing = async || {
            let transaction = self.frontend.begin()?;
            // One that was taken away stays away.
            if transaction.get(&key, false).await?.is_some() {
                note.store(&transaction, &key);
                transaction.commit().await?;
            }
            Ok(())
        };
        persist(renewing).await?;
        self.note = note;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Snapshot for PagedSnapshot {
    async fn next(&mut self) -> Result<Vec<NamedRow>> {
        while !self.names.is_empty() {
            self.renew().await?;
            let (rows, bound) = read(|| self.page()).await?;
            let past = |bound: Cell| [bound.as_bytes().as_ref(), &[0]].concat();
            self.names.start = bound.map_or_else(|| self.names.end.clone(), past);
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
        Ok(Vec::new())
    }
}

impl Drop for PagedSnapshot {
    /// It has been read, or nobody wants it any more. What can't be taken away now is over in a minute.
    fn drop(&mut self) {
        let (frontend, account, id) = (self.frontend.clone(), self.account.clone(), self.note.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = end(&frontend, &account, |note| note.id == id).await {
                    tracing::debug!(%error, "the note of a snapshot stays behind");
                }
            });
        }
    }
}
