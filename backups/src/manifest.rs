//! What makes up a backup.

use crate::BackupError;
use dragon_core::UnixMs;
use serde::{Deserialize, Serialize};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

/// The format's number. Raise it with every change that an older program would misread.
pub const FORMAT: u64 = 1;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Manifest {
    /// The format's number.
    pub format: u64,
    /// Its id, which begins with the time at which it was begun: ids sort by time.
    #[serde(rename = "ID")]
    pub id: String,
    /// When it was begun by the store's clock, in Unix milliseconds. Each account is as of a moment after it.
    pub time_ms: UnixMs,
    /// The version of the program.
    pub server: String,
    /// The store that it is of: revisions can be compared only with those of the same store.
    #[serde(rename = "StoreID")]
    pub store_id: String,
    /// The accounts, in the order of their names.
    pub accounts: Vec<AccountEntry>,
}

/// An account in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AccountEntry {
    /// Its name.
    pub account: String,
    /// Its revision.
    pub revision: u64,
    /// How many values, counters, locks and idempotency ids it has.
    pub rows: u64,
    /// The object that holds it, by its name under the prefix.
    pub object: String,
    /// The object's size.
    pub bytes: u64,
    /// The object's SHA-256 (FIPS 180-4), in hexadecimal digits.
    #[serde(rename = "SHA256")]
    pub sha256: String,
    /// The public keys of age to which it is encrypted; none = it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

/// As much of a manifest as tells what it is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peek {
    format: u64,
}

/// The folder of the manifests.
pub(crate) const FOLDER: &str = "backups/";
const EXTENSION: &str = ".json";

/// The name of a backup's manifest.
pub(crate) fn name_of(id: &str) -> String {
    format!("{FOLDER}{id}{EXTENSION}")
}

/// The backup of which this is the manifest's name.
pub(crate) fn id_of(name: &str) -> Option<&str> {
    name.strip_prefix(FOLDER)?.strip_suffix(EXTENSION).filter(|id| !id.contains('/'))
}

/// The time in an id, in UTC.
const ID_TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]-[minute]-[second].[subsecond digits:3]Z");
const ID_TIME_BYTES: usize = "2026-11-27T06-00-00.000Z".len();

/// The id of a backup that was begun then: the time, and something by chance.
pub(crate) fn new_id(time_ms: UnixMs) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ms) * 1_000_000).ok();
    let time = time.and_then(|time| time.format(ID_TIME).ok()).unwrap_or_else(|| time_ms.to_string());
    let chance = Uuid::new_v4().simple().to_string();
    format!("{time}-{}", &chance[..8])
}

/// When the backup of this id was begun.
pub(crate) fn begun_ms(id: &str) -> Option<UnixMs> {
    let time = PrimitiveDateTime::parse(id.get(..ID_TIME_BYTES)?, ID_TIME).ok()?;
    u64::try_from(time.assume_utc().unix_timestamp_nanos() / 1_000_000).ok()
}

impl Manifest {
    /// How many values, counters, locks and idempotency ids its accounts have.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.accounts.iter().map(|entry| entry.rows).sum()
    }

    /// How many bytes its objects take, those included that other backups refer to as well.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.accounts.iter().map(|entry| entry.bytes).sum()
    }

    /// Reads one.
    pub(crate) fn read(id: &str, json: &[u8]) -> Result<Self, BackupError> {
        let wrong = |problem: String| BackupError::Manifest { id: id.into(), problem };
        let Peek { format } = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        match format {
            FORMAT => {}
            format if format > FORMAT => return Err(BackupError::Newer { id: id.into(), format }),
            _ => return Err(wrong("its format is none that ever was".into())),
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        if manifest.id != id {
            return Err(wrong(format!("it is that of {}", manifest.id)));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_time_and_sort_by_it() {
        for time_ms in [0, 1_795_759_200_999, 253_402_300_799_000] {
            assert_eq!(begun_ms(&new_id(time_ms)), Some(time_ms));
        }
        assert!(new_id(1_795_759_200_000) < new_id(1_795_759_200_001));
        for bad in ["", "x", "2026-11-27", "2026-13-27T06-00-00.000Z-12345678", "é026-11-27T06-00-00.000Z"] {
            assert_eq!(begun_ms(bad), None, "{bad}");
        }
    }
}
