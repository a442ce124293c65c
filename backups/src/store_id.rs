//! What a store is called: a name by chance, kept in the servers' own account.

use crate::BackupError;
use dragon_core::request::{Draft, SetDraft};
use dragon_core::verdict::Rejection;
use dragon_transfer::{NoteAnswer, ask_system, damaged, read_note, write_note};
use dragon_waiters::{Failure, Frontend};
use uuid::Uuid;

const KEY: &str = "store";

/// The store's id; it gets one with the first backup.
pub(crate) async fn store_id(frontend: &Frontend) -> Result<String, BackupError> {
    let id = Uuid::new_v4().to_string();
    let set = SetDraft { if_version: Some(0), ..write_note(KEY.into(), &id)? };
    match ask_system::<NoteAnswer<String>>(frontend, Draft { kv_set: vec![set], ..Draft::default() }).await {
        Ok(_) => Ok(id),
        Err(Failure::Rejected(Rejection::VersionMismatch { .. })) => {
            let answer: NoteAnswer<String> = ask_system(frontend, read_note(KEY.into())).await?;
            answer.note().1.ok_or_else(|| damaged("the store has no id").into())
        }
        Err(failure) => Err(failure.into()),
    }
}
