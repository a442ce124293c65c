//! Taking a backup: one account after another, then the manifest.

use crate::BackupError;
use crate::bucket::{ACCOUNTS, Bucket};
use crate::cipher::Recipient;
use crate::manifest::{AccountEntry, FOLDER, FORMAT, Manifest, begun_ms, id_of, name_of, new_id};
use crate::packing::{Packed, Packing, pack};
use crate::store_id::store_id;
use dragon_contract::BackendError;
use dragon_core::UnixMs;
use dragon_core::cell::Account;
use dragon_core::limits::LIST_ENTRIES_MAX;
use dragon_core::request::Draft;
use dragon_transfer::{ExportError, Exporting, SystemLock, meta};
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

/// A backup that is being taken.
pub(crate) struct Taking<'a> {
    pub(crate) frontend: &'a Frontend,
    pub(crate) bucket: &'a Bucket,
    pub(crate) recipients: &'a [Recipient],
    pub(crate) is_gentle: bool,
    /// The right to do it.
    pub(crate) lock: &'a SystemLock,
    /// The last one, as the store knows it: one that was put back from a copy of its own does not know of those since then,
    /// whose revisions are not its own.
    pub(crate) last: Option<&'a str>,
}

impl Taking<'_> {
    /// Takes a backup of all accounts, and tells how many bytes were uploaded for it. What was uploaded before it fails is
    /// deleted, at once or after a while.
    ///
    /// # Errors
    /// [`BackupError`]; there is no new backup then, unless the answer to the last request was lost.
    pub(crate) async fn take(&self) -> Result<(Manifest, u64), BackupError> {
        let store_id = store_id(self.frontend).await?;
        let time_ms = self.frontend.backend().health().await?.now_ms;
        let mut uploaded = Vec::new();
        let accounts = match self.accounts(&store_id, &mut uploaded).await {
            Ok(accounts) => accounts,
            Err(error) => {
                for entry in &uploaded {
                    if let Err(error) = self.bucket.delete(&entry.object).await {
                        tracing::debug!(%error, "an object of no backup is deleted later");
                    }
                }
                return Err(error);
            }
        };
        let server = env!("CARGO_PKG_VERSION").into();
        let id = new_id(time_ms);
        let manifest = Manifest { format: FORMAT, id, time_ms, server, store_id, accounts };
        let wrong = |error: serde_json::Error| BackupError::Manifest {
            id: manifest.id.clone(),
            problem: error.to_string(),
        };
        let json = serde_json::to_vec_pretty(&manifest).map_err(wrong)?;
        // Whoever has lost the right may refer to what others have deleted since.
        self.lock.ask(Draft::default()).await?;
        self.bucket.put(&name_of(&manifest.id), json.into(), false).await?;
        Ok((manifest, uploaded.iter().map(|entry| entry.bytes).sum()))
    }

    /// The entries of all accounts, and those of them that were uploaded.
    async fn accounts(
        &self,
        store_id: &str,
        uploaded: &mut Vec<AccountEntry>,
    ) -> Result<Vec<AccountEntry>, BackupError> {
        let encrypted_to = names(self.recipients);
        let before = self.entries_before(store_id).await;
        let mut entries = Vec::new();
        for account in all_accounts(self.frontend).await? {
            let known = before.get(account.as_str()).filter(|entry| entry.recipients == encrypted_to);
            match known {
                Some(entry) if entry.revision == meta(self.frontend, &account).await?.revision => {
                    entries.push(entry.clone());
                }
                _ => {
                    let entry = self.upload(&account).await?;
                    uploaded.push(entry.clone());
                    entries.push(entry);
                }
            }
        }
        Ok(entries)
    }

    /// What the last backup has, by account.
    async fn entries_before(&self, store_id: &str) -> HashMap<String, AccountEntry> {
        let Some(id) = self.last else { return HashMap::new() };
        match manifest(self.bucket, id).await {
            Ok(manifest) if manifest.store_id == store_id => {
                let entries = manifest.accounts.into_iter();
                entries.map(|entry| (entry.account.clone(), entry)).collect()
            }
            Ok(_) => HashMap::new(),
            Err(error) => {
                tracing::warn!(%error, id, "the last backup can't be read: everything is uploaded");
                HashMap::new()
            }
        }
    }

    /// Uploads an account as of now.
    async fn upload(&self, account: &Account) -> Result<AccountEntry, BackupError> {
        let Self { bucket, is_gentle, .. } = *self;
        let mut exporting = begin(self.frontend, account).await?;
        let name = format!("{ACCOUNTS}{account}/{}.ndjson.zst{}", Uuid::new_v4(), extension(self.recipients));
        let Packing { rows: to_pack, object, packed } =
            pack(exporting.head.clone(), self.recipients.to_vec(), is_gentle);
        // Where it ends, however it does, packing gets no more rows, and so the upload ends too.
        let feeding = async move {
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
        let recipients = names(self.recipients);
        let (account, revision) = (head.account, head.revision);
        Ok(AccountEntry { account, revision, rows, object: name, bytes, sha256, recipients })
    }
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

/// Begins to export an account; one into whose place an import is putting other content is waited for, and so
/// is a store that has enough to do.
async fn begin(frontend: &Frontend, account: &Account) -> Result<Exporting, BackupError> {
    let mut tries = 0;
    loop {
        match Exporting::begin(frontend, account).await {
            Ok(exporting) => return Ok(exporting),
            Err(ExportError::Replacing | ExportError::Backend(BackendError::Busy(_)))
                if tries < REPLACING_TRIES =>
            {
                tries += 1;
                sleep(REPLACING_PAUSE).await;
            }
            Err(error) => return Err(BackupError::Export(account.clone(), error)),
        }
    }
}

fn names(recipients: &[Recipient]) -> Vec<String> {
    recipients.iter().map(Recipient::to_string).collect()
}

fn extension(recipients: &[Recipient]) -> &'static str {
    if recipients.is_empty() { "" } else { ".age" }
}
