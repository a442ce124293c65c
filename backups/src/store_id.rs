//! What a store is called: a name by chance, kept in the servers' own account.

use crate::BackupError;
use dragon_contract::BackendError;
use dragon_core::cell::Account;
use dragon_core::limits::Limits;
use dragon_core::request::{Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Verdict};
use dragon_waiters::{Failure, Frontend};
use serde::Deserialize;
use std::sync::Arc;
use uuid::Uuid;

const KEY: &str = "store";

/// The store's id; it gets one with the first backup.
pub(crate) async fn store_id(frontend: &Frontend) -> Result<String, BackupError> {
    let id = Uuid::new_v4().to_string();
    let value = Some(format!("\"{id}\"").into());
    let set = SetDraft { key: KEY.into(), value, if_version: Some(0), ..SetDraft::default() };
    match ask(frontend, Draft { kv_set: vec![set], ..Draft::default() }).await {
        Ok(_) => Ok(id),
        Err(Failure::Rejected(Rejection::VersionMismatch { .. })) => {
            let answer = ask(frontend, Draft { kv_get: vec![KEY.into()], ..Draft::default() }).await?;
            let id = answer.kv.into_iter().next().and_then(|read| read.value);
            id.ok_or_else(|| damaged("there is none").into())
        }
        Err(failure) => Err(failure.into()),
    }
}

#[derive(Default, Deserialize)]
struct Answer {
    #[serde(rename = "KV", default)]
    kv: Vec<Read>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "Value")]
    value: Option<String>,
}

fn damaged(what: &str) -> Failure {
    BackendError::Corrupt(format!("the store's id: {what}")).into()
}

async fn ask(frontend: &Frontend, draft: Draft) -> Result<Answer, Failure> {
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
