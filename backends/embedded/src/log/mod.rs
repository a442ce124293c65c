//! The log: where a batch becomes durable, by one write and one sync, before its rows are moved to the
//! database in their own time. Files of one after another, each a header and then records:
//!
//! ```text
//! header  "CDraLog1", number of the file (u64), sequence of its first record (u64), CRC-32 of these and a salt
//! record  length of what follows the sequence (u32), CRC-32 (u32), sequence (u64), then
//!         the store's time (u64, ms), and row by row: length of the name (u16), the name,
//!         0 = deleted or 1 + length of the row (u32), the row; zeros up to a multiple of 8
//! ```
//!
//! All integers are big-endian. A record is one batch, or several that were written together: all of it
//! counts or none. Its checksum covers the file's number too, because a file that is done with is used
//! again, under a new name, over what it held: its blocks are there already, and a sync need not
//! write down where they are. It covers a salt that only the database knows, so that no value can be
//! written that would pass for a record. Records are numbered without a gap, from file to file.

mod read;
mod write;

pub(crate) use read::{ReplayError, Replayed, replay};
pub(crate) use write::Log;

use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"CDraLog1";
const HEADER_BYTES: usize = 28;
/// Where the first record is: a sector to itself for the header.
const FIRST_RECORD_AT: u64 = 512;
const RECORD_HEAD_BYTES: usize = 16;
const ALIGNMENT: usize = 8;

/// The file of a number.
pub(crate) fn file_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("log-{number:010}"))
}

/// A file that is done with, kept to be used again.
pub(crate) fn spare(folder: &Path) -> PathBuf {
    folder.join("log-spare")
}

/// The numbers of the files in a folder, in order.
pub(crate) fn numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("log-"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn header(file: FileId, first_sequence: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&file.number.to_be_bytes());
    header[16..24].copy_from_slice(&first_sequence.to_be_bytes());
    let crc = checksum(file, 24, first_sequence, &header[..24]);
    header[24..].copy_from_slice(&crc.to_be_bytes());
    header
}

/// What the checksums of a file are about besides what they cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) number: u64,
    pub(crate) salt: u64,
}

/// The checksum of a record: what its length, sequence and content are, and which file it is in.
fn checksum(file: FileId, length: u32, sequence: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file.salt.to_be_bytes());
    hasher.update(&file.number.to_be_bytes());
    hasher.update(&length.to_be_bytes());
    hasher.update(&sequence.to_be_bytes());
    hasher.update(content);
    hasher.finalize()
}
