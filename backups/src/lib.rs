//! Backups: all accounts of a store, in an S3 bucket. Each account is an object of its own, as of one moment; a
//! manifest, written last, says which objects make up a backup. What has no manifest is no backup.
//!
//! ```text
//! PREFIX/backups/ID.json                             a manifest; ids sort by time
//! PREFIX/accounts/NAME/ID.ndjson.zst                 an exported account, compressed; .age when encrypted
//! ```
//!
//! An account whose revision has not changed since a backup that is kept is referred to, not uploaded again.

mod bucket;
mod cipher;
mod error;
mod frames;
mod keeper;
mod location;
mod manifest;
mod metrics;
mod packing;
mod prune;
mod restore;
mod store_id;
mod take;

pub use bucket::{Bucket, BucketOptions, Encryption};
pub use cipher::{Identities, Recipient};
pub use error::{BackupError, with_causes};
pub use keeper::{Keeper, Last, Status};
pub use location::{Location, LocationError};
pub use manifest::{AccountEntry, Manifest};
pub use metrics::BackupMetrics;
pub use prune::{Keep, KeepError};
pub use restore::{Lines, Reader, Target, wanted};
pub use take::{last, list, manifest, manifests};
