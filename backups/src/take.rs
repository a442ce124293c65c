//! Taking a backup: one account after another, then the manifest.

use crate::BackupError;
use crate::bucket::Bucket;
use crate::hashing::Hashing;
use crate::manifest::{AccountEntry, FOLDER, FORMAT, Manifest, id_of, name_of};
use crate::store_id::store_id;
use async_compression::tokio::bufread::ZstdEncoder;
use dragon_core::UnixMs;
use dragon_core::cell::Account;
use dragon_core::limits::LIST_ENTRIES_MAX;
use dragon_transfer::format::Decoder;
use dragon_transfer::{ExportError, export, meta};
use dragon_waiters::Frontend;
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::sleep;
use tokio_util::io::StreamReader;
use uuid::Uuid;

/// How long an account is waited for into whose place an import is putting other content, and how often it is
/// looked at.
const REPLACING_TRIES: usize = 120;
const REPLACING_PAUSE: Duration = Duration::from_secs(1);

/// The backups that are there, the oldest first.
///
/// # Errors
/// [`BackupError::Bucket`].
pub async fn list(bucket: &Bucket) -> Result<Vec<String>, BackupError> {
    let names = bucket.list(FOLDER).await?;
    Ok(names.iter().filter_map(|name| id_of(name)).map(str::to_owned).collect())
}

/// The manifest of a backup.
///
/// # Errors
/// When there is none, or it can't be read.
pub async fn manifest(bucket: &Bucket, id: &str) -> Result<Manifest, BackupError> {
    Manifest::read(id, &bucket.read_all(&name_of(id)).await?)
}

/// Takes a backup of all accounts. What is uploaded before it fails is no backup, and
/// [`prune`](crate::prune) deletes it.
///
/// # Errors
/// [`BackupError`]; there is no new backup then.
pub async fn take(frontend: &Frontend, bucket: &Bucket) -> Result<Manifest, BackupError> {
    let store_id = store_id(frontend).await?;
    let time_ms = frontend.backend().health().await?.now_ms;
    let before = entries_before(bucket, &store_id).await?;
    let mut accounts = Vec::new();
    for account in all_accounts(frontend).await? {
        let known = before.get(account.as_str());
        match known {
            Some(entry) if entry.revision == meta(frontend, &account).await?.revision => {
                accounts.push(entry.clone())
            }
            _ => accounts.push(upload(frontend, bucket, &account).await?),
        }
    }
    let server = env!("CARGO_PKG_VERSION").into();
    let manifest = Manifest { format: FORMAT, id: id(time_ms), time_ms, server, store_id, accounts };
    let json = serde_json::to_vec_pretty(&manifest);
    let json =
        json.map_err(|error| BackupError::Manifest { id: manifest.id.clone(), problem: error.to_string() })?;
    bucket.put(&name_of(&manifest.id), json.into()).await?;
    Ok(manifest)
}

/// What the last backup of this store has, by account.
async fn entries_before(
    bucket: &Bucket,
    store_id: &str,
) -> Result<HashMap<String, AccountEntry>, BackupError> {
    for id in list(bucket).await?.iter().rev() {
        match manifest(bucket, id).await {
            Ok(manifest) if manifest.store_id == store_id => {
                return Ok(manifest
                    .accounts
                    .into_iter()
                    .map(|entry| (entry.account.clone(), entry))
                    .collect());
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a backup is passed over: everything is uploaded that only it has")
            }
        }
    }
    Ok(HashMap::new())
}

async fn all_accounts(frontend: &Frontend) -> Result<Vec<Account>, BackupError> {
    let mut accounts: Vec<Account> = Vec::new();
    loop {
        let page = frontend.accounts(accounts.last(), LIST_ENTRIES_MAX).await?;
        accounts.extend(page.accounts);
        if !page.more {
            return Ok(accounts);
        }
    }
}

/// Uploads an account as of now.
async fn upload(
    frontend: &Frontend,
    bucket: &Bucket,
    account: &Account,
) -> Result<AccountEntry, BackupError> {
    let mut tries = 0;
    let lines = loop {
        match export(frontend, account).await {
            Ok(lines) => break lines,
            Err(ExportError::Replacing) if tries < REPLACING_TRIES => {
                tries += 1;
                sleep(REPLACING_PAUSE).await;
            }
            Err(error) => return Err(BackupError::Export(account.clone(), error)),
        }
    };
    // Read as who restores it will: a backup must not turn out to be unreadable then.
    let decoder = Arc::new(Mutex::new(Decoder::new(account.clone())));
    let read = Arc::clone(&decoder);
    let lines = lines.map_err(io::Error::other).map(move |lines| {
        let lines = lines?;
        let mut decoder = read.lock().unwrap_or_else(PoisonError::into_inner);
        decoder.push(&lines).map_err(io::Error::other)?;
        Ok::<_, io::Error>(lines)
    });
    let mut object = Hashing::new(ZstdEncoder::new(StreamReader::new(lines.boxed())));
    let name = format!("accounts/{account}/{}.ndjson.zst", Uuid::new_v4());
    bucket.upload(&name, &mut object).await?;
    let (bytes, sha256) = object.finish();
    let decoder = decoder.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (head, rows) = decoder.finish().map_err(|error| BackupError::Format(account.clone(), error))?;
    Ok(AccountEntry { account: head.account, revision: head.revision, rows, object: name, bytes, sha256 })
}

/// The id of a backup that was begun then: the time in UTC, and something by chance.
fn id(time_ms: UnixMs) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z");
    let time = OffsetDateTime::from_unix_timestamp((time_ms / 1_000) as i64);
    let time = time.ok().and_then(|time| time.format(format).ok()).unwrap_or_else(|| time_ms.to_string());
    let chance = Uuid::new_v4().simple().to_string();
    format!("{time}-{}", &chance[..8])
}
