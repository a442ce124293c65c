//! Which backups are kept. First the manifests of the others go, so that none is ever listed that is not whole, then
//! the objects that no backup has any more.

use crate::BackupError;
use crate::bucket::{ACCOUNTS, Bucket, UPLOAD_TIME_MAX};
use crate::manifest::name_of;
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
    /// How many of these go, whose times are from the oldest to the newest.
    fn going(self, times_ms: &[UnixMs], now_ms: UnixMs) -> usize {
        match self {
            Self::All => 0,
            Self::Last(count) => times_ms.len().saturating_sub(count.get()),
            Self::Age(age) => {
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                let since_ms = now_ms.saturating_sub(age_ms);
                let old = times_ms.iter().take_while(|time_ms| **time_ms < since_ms).count();
                old.min(times_ms.len().saturating_sub(1))
            }
        }
    }
}

/// Deletes what is not to be kept of a store's backups, and returns how many that were. Those of other stores stay: one that
/// was begun anew, empty, must not drive out what is left of the lost one.
///
/// # Errors
/// [`BackupError`]; what was not deleted is found again next time.
pub(crate) async fn prune(
    bucket: &Bucket,
    keep: Keep,
    store_id: &str,
    now_ms: UnixMs,
) -> Result<usize, BackupError> {
    if keep == Keep::All {
        return Ok(0);
    }
    let (mut ids, mut times_ms) = (Vec::new(), Vec::new());
    let mut all = pin!(manifests(bucket, list(bucket).await?));
    while let Some((id, manifest)) = all.next().await {
        let manifest = manifest?;
        if manifest.store_id == store_id {
            ids.push(id);
            times_ms.push(manifest.time_ms);
        }
    }
    let going = keep.going(&times_ms, now_ms);
    for id in &ids[..going] {
        bucket.delete(&name_of(id)).await?;
    }
    Ok(going)
}

/// Deletes the objects that no backup has, and what is left of uploads that broke off, once they are a day old: younger ones
/// may belong to a backup that is being taken.
///
/// # Errors
/// [`BackupError`]. A manifest that can't be read keeps all objects.
pub(crate) async fn sweep(bucket: &Bucket) -> Result<(), BackupError> {
    let uploaded_before = SystemTime::now() - UPLOAD_TIME_MAX;
    let is_old = |uploaded: Option<SystemTime>| uploaded.is_some_and(|uploaded| uploaded < uploaded_before);
    // First what there is, then what is needed: what is uploaded in between is not among it.
    let objects = bucket.list_with_times(ACCOUNTS).await?;
    let mut unneeded: HashSet<String> =
        objects.into_iter().filter(|(_, uploaded)| is_old(*uploaded)).map(|(name, _)| name).collect();
    let mut all = pin!(manifests(bucket, list(bucket).await?));
    while let Some((_, manifest)) = all.next().await {
        for entry in manifest?.accounts {
            unneeded.remove(&entry.object);
        }
    }
    for name in &unneeded {
        bucket.delete(name).await?;
    }
    if let Err(error) = bucket.abort_abandoned().await {
        // Not every server can list them.
        tracing::debug!(%error, "uploads that broke off can't be looked for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        const DAY_MS: UnixMs = 86_400_000;
        let going = |keep: &str, now_ms| {
            keep.parse::<Keep>().unwrap().going(&[1, 2, 3].map(|day| day * DAY_MS), now_ms)
        };
        assert_eq!(going("all", u64::MAX), 0);
        assert_eq!(going("2", 0), 1);
        assert_eq!(going("9", 0), 0);
        assert_eq!(going("1d", 3 * DAY_MS + 1), 2);
        assert_eq!(going("1d", 3 * DAY_MS), 1);
        assert_eq!(going("1h", 900 * DAY_MS), 2);
    }
}
