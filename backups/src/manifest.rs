//! What makes up a backup.

use crate::BackupError;
use dragon_core::UnixMs;
use serde::{Deserialize, Serialize};

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

impl Manifest {
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
