//! What a store is called: a name by chance, kept in the servers' own account.

use crate::BackupError;
use dragon_core::request::{Draft, SetDraft};
use dragon_core::verdict::Rejection;
use dragon_transfer::{ask_system, damaged};
use dragon_waiters::{Failure, Frontend};
use serde::Deserialize;
use uuid::Uuid;

const KEY: &str = "store";

/// The store's id; it gets one with the first backup.
pub(crate) async fn store_id(frontend: &Frontend) -> Result<String, BackupError> {
    let id = Uuid::new_v4().to_string();
    let value = Some(format!("\"{id}\"").into());
    let set = SetDraft { key: KEY.into(), value, if_version: Some(0), ..SetDraft::default() };
    match ask_system::<Answer>(frontend, Draft { kv_set: vec![set], ..Draft::default() }).await {
        Ok(_) => Ok(id),
        Err(Failure::Rejected(Rejection::VersionMismatch { .. })) => {
            let read = Draft { kv_get: vec![KEY.into()], ..Draft::default() };
            let answer: Answer = ask_system(frontend, read).await?;
            let id = answer.kv.into_iter().next().and_then(|read| read.value);
            id.ok_or_else(|| damaged("the store has no id").into())
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
