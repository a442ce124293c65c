//! Requests in the servers' own account, by which they tell each other what is under way.

use dragon_contract::BackendError;
use dragon_core::cell::Account;
use dragon_core::limits::Limits;
use dragon_core::request::{Draft, Request, SetDraft};
use dragon_core::verdict::Verdict;
use dragon_waiters::{Failure, Frontend};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Applies a request there, and reads its answer.
///
/// # Errors
/// [`Failure`]; what can't be read is [`BackendError::Corrupt`].
pub async fn ask_system<T: DeserializeOwned>(frontend: &Frontend, draft: Draft) -> Result<T, Failure> {
    let request = Request::new(Account::system(), draft, &Limits::default());
    let request = request.map_err(|error| damaged(&error.to_string()))?;
    match frontend.submit(Arc::new(request)).await?.take() {
        Some(Verdict::Applied(applied)) => {
            serde_json::from_slice(&applied.answer).map_err(|error| damaged(&error.to_string()))
        }
        Some(Verdict::Rejected(rejection)) => Err(Failure::Rejected(rejection)),
        Some(Verdict::Blocked(_)) | None => Err(Failure::Draining),
    }
}

/// What a request there was answered that reads one note, or none.
#[derive(Debug, Deserialize)]
pub struct NoteAnswer<T> {
    #[serde(rename = "KV", default = "Vec::new")]
    notes: Vec<Noted<T>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Noted<T> {
    version: u64,
    value: Option<T>,
}

impl<T> NoteAnswer<T> {
    /// The note's version and what is in it; 0 and nothing when there is none.
    #[must_use]
    pub fn note(self) -> (u64, Option<T>) {
        self.notes.into_iter().next().map_or((0, None), |noted| (noted.version, noted.value))
    }
}

/// The request that reads a note.
#[must_use]
pub fn read_note(name: String) -> Draft {
    Draft { kv_get: vec![name], ..Draft::default() }
}

/// The part of a request that writes a note.
///
/// # Errors
/// When it can't be written as JSON.
pub fn write_note(name: String, note: &impl Serialize) -> Result<SetDraft, Failure> {
    let value = serde_json::to_vec(note).map_err(|error| damaged(&error.to_string()))?;
    Ok(SetDraft { key: name, value: Some(value.into()), ..SetDraft::default() })
}

/// What is stored there is not what this program writes.
#[must_use]
pub fn damaged(what: &str) -> Failure {
    BackendError::Corrupt(format!("the servers' own account: {what}")).into()
}
