//! Taking a backup: one account after another, then the manifest.

use crate::BackupError;
use crate::bucket::Bucket;
use crate::cipher::Recipient;
use crate::manifest::{AccountEntry, FOLDER, FORMAT, Manifest, begun_ms, id_of, name_of, new_id};
use crate::packing::{Packed, Packing, pack};
use crate::store_id::store_id;
use dragon_core::UnixMs;
use dragon_core::cell::Account;
use dragon_core::limits::LIST_ENTRIES_MAX;
use dragon_transfer::{ExportError, Exporting, meta};
use dragon_waiters::Frontend;
use futures_util::stream::{self, Stream, StreamExt as _};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// How long an account is waited for into whose place an import is putting other content, and how often it is
/// looked at.
const REPLACING_TRIES: usize = 120;
const REPLACING_PAUSE: Duration = Duration::from_secs(1);
/// How many manifests are read at a time.
const MANIFESTS_AT_A_TIME: usize = 8;

/// The backups that are there, the oldest first.
///
/// # Errors
/// [`BackupError::Bucket`].
pub async fn list(bucket: &Bucket) -> Result<Vec<String>, BackupError> {
    let names = bucket.list(FOLDER).await?;
    Ok(names.iter().filter_map(|name| id_of(name)).map(str::to_owned).collect())
}

/// The backup that was begun last, at this time or before it. Without a time it is the last that has an account: where
/// a store was lost, one that was begun anew in its place may have left some of nothing.
///
/// # Errors
/// [`BackupError::NoBackup`] when there is none.
pub async fn last(bucket: &Bucket, at_ms: Option<UnixMs>) -> Result<Manifest, BackupError> {
    for id in list(bucket).await?.iter().rev() {
        // Those of later are not read: one of them may be what is to be passed over.
        if at_ms.zip(begun_ms(id)).is_some_and(|(at_ms, begun_ms)| begun_ms > at_ms) {
            continue;
        }
        let manifest = manifest(bucket, id).await?;
        if at_ms.map_or(!manifest.accounts.is_empty(), |at_ms| manifest.time_ms <= at_ms) {
            return Ok(manifest);
        }
    }
    Err(BackupError::NoBackup)
}

/// The manifest of a backup.
///
/// # Errors
/// When there is none, or it can't be read.
pub async fn manifest(bucket: &Bucket, id: &str) -> Result<Manifest, BackupError> {
    Manifest::read(id, &bucket.read_all(&name_of(id)).await?)
}

/// The manifests of backups, in this order, some of them read at a time.
pub fn manifests(
    bucket: &Bucket,
    ids: Vec<String>,
) -> impl Stream<Item = (String, Result<Manifest, BackupError>)> + Send + use<> {
    let bucket = bucket.clone();
    let manifests = stream::iter(ids).map(move |id| {
        let bucket = bucket.clone();
        async move {
            let manifest = manifest(&bucket, &id).await;
            (id, manifest)
        }
    });
    manifests.buffered(MANIFESTS_AT_A_TIME)
}

/// Takes a backup of all accounts, and tells how many bytes were uploaded for it. What is uploaded before it fails is no
/// backup, and is deleted after a while.
///
/// # Errors
/// [`BackupError`]; there is no new backup then.
pub(crate) async fn take(
    frontend: &Frontend,
    bucket: &Bucket,
    recipients: &[Recipient],
    is_gentle: bool,
) -> Result<(Manifest, u64), BackupError> {
    let encrypted_to = names(recipients);
    let store_id = store_id(frontend).await?;
    let time_ms = frontend.backend().health().await?.now_ms;
    let before = entries_before(bucket, &store_id).await?;
    let (mut accounts, mut uploaded_bytes) = (Vec::new(), 0);
    for account in all_accounts(frontend).await? {
        let known = before.get(account.as_str());
        match known {
            Some(entry)
                if entry.recipients == encrypted_to
                    && entry.revision == meta(frontend, &account).await?.revision =>
            {
                accounts.push(entry.clone());
            }
            _ => {
                let entry = upload(frontend, bucket, &account, recipients, is_gentle).await?;
                uploaded_bytes += entry.bytes;
                accounts.push(entry);
            }
        }
    }
    let server = env!("CARGO_PKG_VERSION").into();
    let manifest = Manifest { format: FORMAT, id: new_id(time_ms), time_ms, server, store_id, accounts };
    let json = serde_json::to_vec_pretty(&manifest);
    let json =
        json.map_err(|error| BackupError::Manifest { id: manifest.id.clone(), problem: error.to_string() })?;
    bucket.put(&name_of(&manifest.id), json.into()).await?;
    Ok((manifest, uploaded_bytes))
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

/// Begins to export an account; one into whose place an import is putting other content is waited for.
async fn begin(frontend: &Frontend, account: &Account) -> Result<Exporting, BackupError> {
    let mut tries = 0;
    loop {
        match Exporting::begin(frontend, account).await {
            Ok(exporting) => return Ok(exporting),
            Err(ExportError::Replacing) if tries < REPLACING_TRIES => {
                tries += 1;
                sleep(REPLACING_PAUSE).await;
            }
            Err(error) => return Err(BackupError::Export(account.clone(), error)),
        }
    }
}

/// Uploads an account as of now.
async fn upload(
    frontend: &Frontend,
    bucket: &Bucket,
    account: &Account,
    recipients: &[Recipient],
    is_gentle: bool,
) -> Result<AccountEntry, BackupError> {
    let mut exporting = begin(frontend, account).await?;
    let name = format!("accounts/{account}/{}.ndjson.zst{}", Uuid::new_v4(), extension(recipients));
    let Packing { rows: to_pack, object, packed } =
        pack(exporting.head.clone(), recipients.to_vec(), is_gentle);
    let feeding = async {
        loop {
            let next = exporting.next().await;
            let rows = next.map_err(|error| BackupError::Export(account.clone(), error.into()))?;
            let is_end = rows.is_empty();
            // It takes no more where the upload has failed.
            if to_pack.send(rows).await.is_err() || is_end {
                return Ok::<_, BackupError>(());
            }
        }
    };
    let (fed, uploaded) = tokio::join!(feeding, bucket.upload(&name, object, is_gentle));
    fed?;
    uploaded?;
    let gone = |_| BackupError::Packing("it broke off".into());
    let Packed { head, rows, bytes, sha256 } = packed.await.map_err(gone)??;
    let recipients = names(recipients);
    Ok(AccountEntry {
        account: head.account,
        revision: head.revision,
        rows,
        object: name,
        bytes,
        sha256,
        recipients,
    })
}

fn names(recipients: &[Recipient]) -> Vec<String> {
    recipients.iter().map(Recipient::to_string).collect()
}

fn extension(recipients: &[Recipient]) -> &'static str {
    if recipients.is_empty() { "" } else { ".age" }
}
