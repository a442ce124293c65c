//! Which backups are kept. First the manifests of the others go, so that none is ever listed that is not whole, then
//! the objects that no backup has any more.

use crate::BackupError;
use crate::bucket::Bucket;
use crate::manifest::{Manifest, name_of};
use crate::take::{list, manifest};
use dragon_core::UnixMs;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// An object that belongs to no backup may belong to one that is being taken, for as long as this.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(86_400);

/// Which backups are kept; the last one always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those not older than this.
    Age(Duration),
    /// So many of the last.
    Last(NonZeroUsize),
}

/// The text says nothing of what to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("say how long to keep backups, as in 36h, 7d or 4w, or how many, as in 20")]
pub struct KeepError;

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Last(count));
        }
        let hours = match text.chars().last() {
            Some('h') => 1,
            Some('d') => 24,
            Some('w') => 24 * 7,
            _ => return Err(KeepError),
        };
        let count: u32 = text[..text.len() - 1].parse().map_err(|_| KeepError)?;
        if !(1..=1_000_000).contains(&count) {
            return Err(KeepError);
        }
        Ok(Self::Age(Duration::from_secs(u64::from(count) * hours * 3_600)))
    }
}

impl Keep {
    /// Splits backups, the oldest first, into those that go and those that stay.
    fn split(self, mut backups: Vec<Manifest>, now_ms: UnixMs) -> (Vec<Manifest>, Vec<Manifest>) {
        let going = match self {
            Self::Last(count) => backups.len().saturating_sub(count.get()),
            Self::Age(age) => {
                let since_ms = now_ms.saturating_sub(age.as_millis() as u64);
                let old = backups.iter().take_while(|backup| backup.time_ms < since_ms).count();
                old.min(backups.len().saturating_sub(1))
            }
        };
        let staying = backups.split_off(going);
        (backups, staying)
    }
}

/// Deletes what is not to be kept, and returns how many backups that were.
///
/// # Errors
/// [`BackupError`]; what was not deleted is found again next time. A manifest that can't be read keeps all objects.
pub async fn prune(bucket: &Bucket, keep: Keep, now_ms: UnixMs) -> Result<usize, BackupError> {
    let mut backups = Vec::new();
    for id in list(bucket).await? {
        backups.push(manifest(bucket, &id).await?);
    }
    let (going, staying) = keep.split(backups, now_ms);
    for backup in &going {
        bucket.delete(&name_of(&backup.id)).await?;
    }
    let objects = staying.iter().flat_map(|backup| &backup.accounts).map(|entry| entry.object.as_str());
    let needed: HashSet<&str> = objects.collect();
    let uploaded_before = SystemTime::now() - UPLOAD_TIME_MAX;
    for (name, uploaded) in bucket.list_with_times("accounts/").await? {
        if !needed.contains(name.as_str()) && uploaded.is_some_and(|uploaded| uploaded < uploaded_before) {
            bucket.delete(&name).await?;
        }
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
        for bad in ["", "0", "d", "0d", "-1", "7m", "é", "1.5d", "99999999999w"] {
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
        assert_eq!(split("2", 0), (1, 2));
        assert_eq!(split("9", 0), (0, 3));
        assert_eq!(split("1d", 3 * 86_400_000 + 1), (2, 1));
        assert_eq!(split("1d", 3 * 86_400_000), (1, 2));
        assert_eq!(split("1h", 900 * 86_400_000), (2, 1));
    }
}
