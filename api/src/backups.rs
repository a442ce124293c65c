//! Backups over HTTP: taking one, listing them, and how they go.

use crate::error::{ApiError, Code};
use dragon_backups::{BackupError, Keeper, Manifest, list, manifests};
use dragon_core::limits::{LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX};
use dragon_core::request::check_range;
use dragon_transfer::ExportError;
use futures_util::StreamExt as _;
use poem_openapi::Object;

/// A backup.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", rename = "Backup")]
pub(crate) struct BackupShape {
    /// Its id; ids sort by time.
    #[oai(rename = "ID")]
    pub(crate) id: String,
    /// When it was begun, in Unix seconds. Each account is as of a moment after it.
    pub(crate) time: u64,
    /// The store that it is of.
    #[oai(rename = "StoreID")]
    pub(crate) store_id: String,
    /// How many accounts it has.
    pub(crate) accounts: u64,
    /// How many values, counters, locks and idempotency ids.
    pub(crate) rows: u64,
    /// How many bytes it takes in the bucket, those included that other backups refer to as well.
    pub(crate) bytes: u64,
}

impl From<Manifest> for BackupShape {
    fn from(manifest: Manifest) -> Self {
        Self {
            time: manifest.time_ms / 1_000,
            accounts: manifest.accounts.len() as u64,
            rows: manifest.rows(),
            bytes: manifest.bytes(),
            id: manifest.id,
            store_id: manifest.store_id,
        }
    }
}

/// A page of backups.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub(crate) struct BackupsAnswer {
    /// The backups, the newest first.
    pub(crate) backups: Vec<BackupShape>,
    /// True when there are more.
    pub(crate) more: Option<bool>,
}

/// How the backups go.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub(crate) struct BackupHealth {
    /// Where they go.
    pub(crate) to: String,
    /// The id of the last one that was taken.
    #[oai(rename = "LastID")]
    pub(crate) last_id: Option<String>,
    /// When that was begun, in Unix seconds.
    pub(crate) last_time: Option<u64>,
    /// How many times in a row it has failed since then.
    pub(crate) failures: u64,
    /// When it failed last, in Unix seconds.
    pub(crate) failed_time: Option<u64>,
    /// Why it failed last.
    pub(crate) error: Option<String>,
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::UnderWay => {
                Self::new(Code::BackupUnderWay, "Another backup is under way; wait until it has ended.")
            }
            BackupError::Failure(failure) => failure.into(),
            BackupError::Export(_, ExportError::Backend(error)) => error.into(),
            error => {
                tracing::warn!(%error, "a backup was asked for and failed");
                Self::new(Code::BackupFailed, format!("It failed, {error}."))
            }
        }
    }
}

/// The backups of a server, if it has a place for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backups(pub(crate) Option<Keeper>);

impl Backups {
    fn keeper(&self) -> Result<&Keeper, ApiError> {
        let off = || ApiError::new(Code::BackupsOff, "The server has no place for backups: see --backup-to.");
        self.0.as_ref().ok_or_else(off)
    }

    /// `POST /backups`. It is taken to its end even if nobody waits.
    pub(crate) async fn take(&self) -> Result<BackupShape, ApiError> {
        let keeper = self.keeper()?.clone();
        let taken = tokio::spawn(async move { keeper.take_now().await }).await;
        let broken = |error: tokio::task::JoinError| ApiError::new(Code::BackupFailed, error.to_string());
        Ok(taken.map_err(broken)??.into())
    }

    /// `GET /backups`.
    pub(crate) async fn list(
        &self,
        after: Option<&str>,
        limit: Option<u64>,
    ) -> Result<BackupsAnswer, ApiError> {
        let bucket = &self.keeper()?.bucket;
        let limit = limit.unwrap_or(LIST_ENTRIES_DEFAULT as u64);
        check_range("limit", limit, 1, LIST_ENTRIES_MAX as u64)?;
        let mut ids = list(bucket).await?;
        ids.retain(|id| after.is_none_or(|after| id.as_str() < after));
        ids.reverse();
        let more = (ids.len() as u64 > limit).then_some(true);
        ids.truncate(limit as usize);
        let shown = manifests(bucket, ids).filter_map(async |(id, manifest)| match manifest {
            Ok(manifest) => Some(BackupShape::from(manifest)),
            Err(error) => {
                tracing::warn!(%error, id, "a backup can't be shown");
                None
            }
        });
        let backups = shown.collect().await;
        Ok(BackupsAnswer { backups, more })
    }

    /// How they go; `None` = there are none.
    pub(crate) async fn health(&self) -> Result<Option<BackupHealth>, ApiError> {
        let Some(keeper) = &self.0 else { return Ok(None) };
        let status = keeper.status().await?;
        let (last_id, last_time) = status.last.map(|last| (last.id, last.time_ms / 1_000)).unzip();
        Ok(Some(BackupHealth {
            to: keeper.bucket.location().to_string(),
            last_id,
            last_time,
            failures: status.failures.into(),
            failed_time: status.error.is_some().then_some(status.failed_ms / 1_000),
            error: status.error,
        }))
    }
}
