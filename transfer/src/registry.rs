//! Where the servers note which imports are under way, in an account of their own: a value for each, beside the lock
//! that its driver holds. A driver that is gone loses the lock, and another one finds the note.
//!
//! The import's number is the handle of the lock with which it began: no other import ever has the same.

use crate::import::{ImportError, Mode};
use crate::steps::Steps;
use crate::system::{ask_system, damaged};
use bytes::Bytes;
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::request::{Draft, SetDraft};
use dragon_core::verdict::Rejection;
use dragon_waiters::{Failure, Frontend};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a driver that gives no sign of life keeps its lock, in seconds.
const LEASE_S: u64 = 10;
/// How often it gives one.
const EXTEND_EVERY: Duration = Duration::from_millis(2_500);
/// What the names of notes and locks begin with.
pub(crate) const PREFIX: &str = "import/";

/// What is noted of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Its number; `None` = the version of the note.
    pub(crate) import: Option<u64>,
    /// Whether the account must be empty.
    pub(crate) mode: Mode,
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
    frontend: Frontend,
    name: String,
    /// The lock's handle.
    pub(crate) number: u64,
    extending: JoinHandle<()>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.extending.abort();
    }
}

/// What a request in the servers' own account was answered.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    lock: Option<u64>,
    #[serde(rename = "KV", default)]
    kv: Vec<Read>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Read {
    version: u64,
    value: Option<Note>,
}

fn put(name: &str, note: &Note) -> Result<SetDraft, Failure> {
    let value = serde_json::to_vec(note).map_err(|error| damaged(&error.to_string()))?;
    Ok(SetDraft { key: name.into(), value: Some(Bytes::from(value)), ..SetDraft::default() })
}

impl Driver {
    /// Begins an import: takes the lock and leaves the note, in one request. `None`: there is a note of an earlier
    /// one, which must be ended first.
    pub(crate) async fn begin(
        frontend: &Frontend,
        account: &Account,
        mode: Mode,
    ) -> Result<Option<Self>, ImportError> {
        let name = format!("{PREFIX}{account}");
        let note = put(&name, &Note { import: None, mode, content: None })?;
        let kv_set = vec![SetDraft { if_version: Some(0), ..note }];
        match ask_system(frontend, Draft { kv_set, ..lock(&name) }).await {
            Ok(Answer { lock: Some(number), .. }) => Ok(Some(Self::hold(frontend, name, number))),
            Ok(_) => Err(damaged("no lock was granted").into()),
            Err(Failure::Rejected(Rejection::VersionMismatch { .. })) => Ok(None),
            Err(Failure::Rejected(Rejection::LockTimeout { .. })) => Err(ImportError::UnderWay),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Takes the lock of an import that was left; `None` when someone still drives it, or there is none.
    pub(crate) async fn take_over(
        frontend: &Frontend,
        account: &Account,
    ) -> Result<Option<(Self, u64, Note)>, Failure> {
        let name = format!("{PREFIX}{account}");
        let answer =
            match ask_system::<Answer>(frontend, Draft { kv_get: vec![name.clone()], ..lock(&name) }).await {
                Err(Failure::Rejected(Rejection::LockTimeout { .. })) => return Ok(None),
                answer => answer?,
            };
        let driver = Self::hold(frontend, name, answer.lock.ok_or_else(|| damaged("no lock was granted"))?);
        match answer.kv.into_iter().next() {
            Some(Read { version, value: Some(note) }) => {
                Ok(Some((driver, note.import.unwrap_or(version), note)))
            }
            _ => {
                driver.end().await?;
                Ok(None)
            }
        }
    }

    fn hold(frontend: &Frontend, name: String, number: u64) -> Self {
        let (extended, id) = (frontend.clone(), name.clone());
        let extending = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EXTEND_EVERY).await;
                let held = Draft { unlock_id: Some(id.clone()), unlock: Some(number), ..lock(&id) };
                if let Err(error) = ask_system::<Answer>(&extended, held).await {
                    tracing::warn!(%error, id, "the lock of an import could not be extended");
                }
            }
        });
        Self { frontend: frontend.clone(), name, number, extending }
    }

    async fn ask(&self, draft: Draft) -> Result<(), Failure> {
        ask_system::<Answer>(&self.frontend, draft).await.map(drop)
    }

    /// Its steps in an account.
    pub(crate) fn steps<'a>(&'a self, account: &'a Account) -> Steps<'a> {
        Steps { frontend: &self.frontend, account, driver: self.number }
    }

    /// Notes what the file said, if the lock is still held.
    pub(crate) async fn note(&self, note: &Note) -> Result<(), Failure> {
        let held =
            Draft { unlock_id: Some(self.name.clone()), unlock: Some(self.number), ..lock(&self.name) };
        self.ask(Draft { kv_set: vec![put(&self.name, note)?], ..held }).await
    }

    /// Takes the note away and gives the lock back.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        self.extending.abort();
        let delete = SetDraft { key: self.name.clone(), delete: true, ..SetDraft::default() };
        let (unlock_id, unlock) = (Some(self.name.clone()), Some(self.number));
        let draft = Draft { unlock_id, unlock, kv_set: vec![delete], ..Draft::default() };
        self.ask(draft).await
    }
}

fn lock(name: &str) -> Draft {
    Draft { lock_id: Some(name.into()), lock_dur_s: Some(LEASE_S), ..Draft::default() }
}

/// The account that a note is about.
pub(crate) fn account_of(note: &Cell) -> Option<Account> {
    let is_note = note.kind() == Kind::Value && note.account().is_system();
    Account::new(note.id().strip_prefix(PREFIX).filter(|_| is_note)?).ok()
}
