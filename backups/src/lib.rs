//! Backups: all accounts of a store, in an S3 bucket. Each account is an object of its own, as of one moment; a
//! manifest, written last, says which objects make up a backup. What has no manifest is no backup.
//!
//! ```text
//! PREFIX/backups/ID.json                             a manifest; ids sort by time
//! PREFIX/accounts/NAME/ID.ndjson.zst                 an exported account, compressed
//! ```
//!
//! An account whose revision has not changed since a backup that is kept is referred to, not uploaded again.

mod bucket;
mod error;
mod hashing;
mod location;
mod manifest;
mod prune;
mod restore;
mod store_id;
mod take;

pub use bucket::{Bucket, BucketOptions};
pub use error::BackupError;
pub use location::{Location, LocationError};
pub use manifest::{AccountEntry, Manifest};
pub use prune::{Keep, KeepError, prune};
pub use restore::{restore, verify};
pub use take::{list, manifest, take};
