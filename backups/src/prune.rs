//! Which backups are kept. First the manifests of the others go, so that none is ever listed that is not whole, then
//! the objects that no backup has any more.

use crate::BackupError;
use crate::bucket::{Bucket, UPLOAD_TIME_MAX};
use crate::manifest::{Manifest, name_of};
use crate::take::{list, manifests};
use dragon_core::UnixMs;
use futures_util::StreamExt as _;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The shortest time that backups can be kept for.
const AGE_MIN: Duration = Duration::from_secs(60);

/// Which backups are kept; the last one always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All.
    #[default]
    All,
    /// Those not older than this.
    Age(Duration),
    /// So many of the last.
    Last(NonZeroUsize),
}

/// The text says nothing of what to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("say how long to keep backups, as in 36h, 7d or 4w, or how many, as in 20, or all")]
pub struct KeepError;

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(count) = text.parse() {
            return Ok(Self::Last(count));
        }
        let age = humantime::parse_duration(text).map_err(|_| KeepError)?;
        if age < AGE_MIN { Err(KeepError) } else { Ok(Self::Age(age)) }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Age(age) => humantime::format_duration(*age).fmt(formatter),
            Self::Last(count) => count.fmt(formatter),
        }
    }
}

impl Keep {
    /// Splits backups, the oldest first, into those that go and those that stay.
    fn split(self, mut backups: Vec<Manifest>, now_ms: UnixMs) -> (Vec<Manifest>, Vec<Manifest>) {
        let going = match self {
            Self::All => 0,
            Self::Last(count) => backups.len().saturating_sub(count.get()),
            Self::Age(age) => {
                let since_ms = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
                let old = backups.iter().take_while(|backup| backup.time_ms < since_ms).count();
                old.min(backups.len().saturating_sub(1))
            }
        };
        let staying = backups.split_off(going);
        (backups, staying)
    }
}

/// Deletes what is not to be kept of a store's backups, what no backup has any more, and what is left of uploads that
/// broke off, and returns how many backups that were. Those of other stores stay: one that was begun anew, empty, must
/// not drive out what is left of the lost one.
///
/// # Errors
/// [`BackupError`]; what was not deleted is found again next time. A manifest that can't be read keeps all objects.
pub(crate) async fn prune(
    bucket: &Bucket,
    keep: Keep,
    store_id: &str,
    now_ms: UnixMs,
) -> Result<usize, BackupError> {
    let (mut own, mut of_others) = (Vec::new(), Vec::new());
    let mut all = pin!(manifests(bucket, list(bucket).await?));
    while let Some((_, manifest)) = all.next().await {
        let manifest = manifest?;
        if manifest.store_id == store_id { own.push(manifest) } else { of_others.push(manifest) }
    }
    let (going, staying) = keep.split(own, now_ms);
    for backup in &going {
        bucket.delete(&name_of(&backup.id)).await?;
    }
    let entries = staying.iter().chain(&of_others).flat_map(|backup| &backup.accounts);
    let needed: HashSet<&str> = entries.map(|entry| entry.object.as_str()).collect();
    // One that belongs to no backup may belong to one that is being taken.
    let uploaded_before = SystemTime::now() - UPLOAD_TIME_MAX;
    for (name, uploaded) in bucket.list_with_times("accounts/").await? {
        if !needed.contains(name.as_str()) && uploaded.is_some_and(|uploaded| uploaded < uploaded_before) {
            bucket.delete(&name).await?;
        }
    }
    if let Err(error) = bucket.abort_abandoned().await {
        // Not every server can list them.
        tracing::debug!(%error, "uploads that broke off can't be looked for");
    }
    Ok(going.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FORMAT;

    #[test]
    fn what_to_keep_is_read() {
        let last = |count| Ok(Keep::Last(NonZeroUsize::new(count).unwrap()));
        assert_eq!("20".parse(), last(20));
        assert_eq!("36h".parse(), Ok(Keep::Age(Duration::from_secs(36 * 3_600))));
        assert_eq!("7d".parse(), Ok(Keep::Age(Duration::from_secs(7 * 86_400))));
        assert_eq!("all".parse(), Ok(Keep::All));
        for shown in ["all", "20", "36h", "7d"] {
            let keep: Keep = shown.parse().unwrap();
            assert_eq!(keep.to_string().parse(), Ok(keep));
        }
        for bad in ["", "0", "d", "0d", "-1", "7s", "é", "99999999999999999999w"] {
            assert_eq!(bad.parse::<Keep>(), Err(KeepError), "{bad}");
        }
    }

    #[test]
    fn the_last_one_always_stays() {
        let backup = |time_ms: u64| Manifest {
            format: FORMAT,
            id: time_ms.to_string(),
            time_ms,
            server: String::new(),
            store_id: String::new(),
            accounts: Vec::new(),
        };
        let split = |keep: &str, now_ms| {
            let (going, staying) = keep
                .parse::<Keep>()
                .unwrap()
                .split([1, 2, 3].map(|day| backup(day * 86_400_000)).into(), now_ms);
            (going.len(), staying.len())
        };
        assert_eq!(split("all", u64::MAX), (0, 3));
        assert_eq!(split("2", 0), (1, 2));
        assert_eq!(split("9", 0), (0, 3));
        assert_eq!(split("1d", 3 * 86_400_000 + 1), (2, 1));
        assert_eq!(split("1d", 3 * 86_400_000), (1, 2));
        assert_eq!(split("1h", 900 * 86_400_000), (2, 1));
    }
}
