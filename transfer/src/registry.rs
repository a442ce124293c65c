//! Where the servers note which imports are under way, in an account of their own: a value for each, beside the lock
//! that its driver holds. A driver that is gone loses the lock, and another one finds the note.
//!
//! The import's number is the handle of the lock with which it began: no other import ever has the same.

use crate::import::{ImportError, Purpose};
use crate::lock::{LEASE_S, SystemLock};
use crate::steps::Steps;
use crate::system::{NoteAnswer, read_note, write_note};
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::request::{Draft, SetDraft};
use dragon_core::verdict::Rejection;
use dragon_waiters::{Failure, Frontend};
use serde::{Deserialize, Serialize};

/// What the names of notes and locks begin with.
pub(crate) const PREFIX: &str = "import/";

/// What is noted of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Its number; `None` = the version of the note.
    pub(crate) import: Option<u64>,
    /// Whether the account must be empty.
    pub(crate) mode: Purpose,
    /// What the file said of the account, once all of it was read and found good.
    pub(crate) content: Option<Content>,
}

/// What goes into the account's own row in the end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) revision: u64,
    pub(crate) mark_ms: UnixMs,
}

/// The right to drive the import of an account: its lock, kept for as long as this lives.
#[derive(Debug)]
pub(crate) struct Driver {
    name: String,
    lock: SystemLock,
}

impl Driver {
    /// Begins an import: takes the lock and leaves the note, in one request. `None`: there is a note of an earlier
    /// one, which must be ended first.
    pub(crate) async fn begin(
        frontend: &Frontend,
        account: &Account,
        purpose: Purpose,
    ) -> Result<Option<Self>, ImportError> {
        let name = format!("{PREFIX}{account}");
        let note = write_note(name.clone(), &Note { import: None, mode: purpose, content: None })?;
        let kv_set = vec![SetDraft { if_version: Some(0), ..note }];
        let beside = Draft { kv_set, ..Draft::default() };
        match SystemLock::take::<NoteAnswer<Note>>(frontend, name.clone(), 0, beside).await {
            Ok(Some((lock, _))) => Ok(Some(Self { name, lock })),
            Ok(None) => Err(ImportError::UnderWay),
            Err(Failure::Rejected(Rejection::VersionMismatch { .. })) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Takes the lock of an import that was left; `None` when someone still drives it, or there is none.
    pub(crate) async fn take_over(
        frontend: &Frontend,
        account: &Account,
    ) -> Result<Option<(Self, u64, Note)>, Failure> {
        let name = format!("{PREFIX}{account}");
        let read = read_note(name.clone());
        let taken = SystemLock::take::<NoteAnswer<Note>>(frontend, name.clone(), 0, read).await?;
        let Some((lock, answer)) = taken else { return Ok(None) };
        let driver = Self { name, lock };
        match answer.note() {
            (version, Some(note)) => Ok(Some((driver, note.import.unwrap_or(version), note))),
            (_, None) => {
                driver.end().await?;
                Ok(None)
            }
        }
    }

    /// Its number: that of its lock's handle.
    pub(crate) fn number(&self) -> u64 {
        self.lock.handle()
    }

    /// Its steps in an account.
    pub(crate) fn steps<'a>(&'a self, account: &'a Account) -> Steps<'a> {
        Steps { frontend: self.lock.frontend(), account, driver: self.number() }
    }

    /// Notes what the file said, if the lock is still held.
    pub(crate) async fn note(&self, note: &Note) -> Result<(), Failure> {
        self.lock.ask(Draft { kv_set: vec![write_note(self.name.clone(), note)?], ..Draft::default() }).await
    }

    /// Takes the note away and gives the lock back.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        let delete = SetDraft { key: self.name, delete: true, ..SetDraft::default() };
        self.lock.release(Draft { kv_set: vec![delete], ..Draft::default() }).await
    }
}

/// Waits until no import of the account is under way any more, for as long as one keeps its lock whose driver is gone. One
/// that goes on is not waited for.
///
/// # Errors
/// The store's.
pub async fn wait_for_import(frontend: &Frontend, account: &Account) -> Result<(), Failure> {
    let name = format!("{PREFIX}{account}");
    match SystemLock::take::<NoteAnswer<Note>>(frontend, name, LEASE_S + 1, Draft::default()).await? {
        Some((lock, _)) => lock.release(Draft::default()).await,
        None => Ok(()),
    }
}

/// The account that a note is about.
pub(crate) fn account_of(note: &Cell) -> Option<Account> {
    let is_note = note.kind() == Kind::Value && note.account().is_system();
    Account::new(note.id().strip_prefix(PREFIX).filter(|_| is_note)?).ok()
}
