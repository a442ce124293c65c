//! Reading the log back after a crash, and telling a torn end from damage. A record is written only after
//! the one before it was synced. So a broken record with nothing whole behind it is the end that a crash
//! tore off, and was never answered; one with a whole later record behind it, or a later file that goes
//! on, had been synced, and is damage.

use super::{
    ALIGNMENT, FIRST_RECORD_AT, FileId, HEADER_BYTES, RECORD_HEAD_BYTES, checksum, file_of, header, numbers,
};
use crate::database::{LogState, Moved};
use bytes::{Buf as _, Bytes};
use dragon_contract::stored_cell;
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// What a log holds beyond the database.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The rows, each as the last record left it.
    pub(crate) rows: RowMap,
    /// The store's time in the last record.
    pub(crate) latest_ms: UnixMs,
    /// The number of the last file; that of the last one moved, where there is none after it.
    pub(crate) number: u64,
    /// The sequence that the next record gets.
    pub(crate) next_sequence: u64,
}

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, ReplayError> {
    Err(ReplayError::Damaged(what.into()))
}

/// Reads every file after those whose rows the database has.
pub(crate) fn replay(folder: &Path, state: LogState) -> Result<Replayed, ReplayError> {
    let Moved { file, next_sequence, latest_ms } = state.moved;
    let numbers: Vec<u64> = numbers(folder)?.into_iter().filter(|number| *number > file).collect();
    let mut replayed = Replayed { rows: RowMap::default(), latest_ms, number: file, next_sequence };
    for (at, &number) in numbers.iter().enumerate() {
        if number != replayed.number + 1 {
            return damaged(format!("log-{:010} is missing", replayed.number + 1));
        }
        let is_last = at + 1 == numbers.len();
        replayed.read_file(folder, FileId { number, salt: state.salt }, is_last)?;
    }
    Ok(replayed)
}

impl Replayed {
    fn read_file(&mut self, folder: &Path, id: FileId, is_last: bool) -> Result<(), ReplayError> {
        let path = file_of(folder, id.number);
        // What was written but not synced may still be in memory only, and is built upon from here on.
        File::open(&path)?.sync_all()?;
        let bytes = Bytes::from(std::fs::read(&path)?);
        let name = format!("log-{:010}", id.number);
        let mut at = FIRST_RECORD_AT as usize;
        match first_sequence(&bytes, id) {
            Some(sequence) if sequence == self.next_sequence => {}
            Some(_) => return damaged(format!("{name} does not begin where the file before it ends")),
            // The file is taken into use once its header is durable: before, nothing is in it.
            None if is_last && later_record(&bytes, id, at, self.next_sequence).is_none() => {
                return Ok(());
            }
            None => return damaged(format!("the header of {name} is broken")),
        }
        self.number = id.number;
        while let Some((content, end)) = record(&bytes, id, at, |sequence| sequence == self.next_sequence) {
            self.take_in(content)
                .map_err(|what| ReplayError::Damaged(format!("byte {at} of {name}: {what}")))?;
            self.next_sequence += 1;
            at = end;
        }
        match later_record(&bytes, id, at, self.next_sequence) {
            Some(later) => {
                damaged(format!("byte {at} of {name} is broken, and byte {later} is a later record"))
            }
            None => Ok(()),
        }
    }

    fn take_in(&mut self, mut content: Bytes) -> Result<(), String> {
        let short = |_| "the record is too short".to_owned();
        self.latest_ms = self.latest_ms.max(content.try_get_u64().map_err(short)?);
        while content.has_remaining() {
            let name_bytes = usize::from(content.try_get_u16().map_err(short)?);
            if content.len() < name_bytes {
                return Err("a name is cut off".to_owned());
            }
            let cell = stored_cell(content.split_to(name_bytes)).map_err(|error| error.to_string())?;
            let row = match content.try_get_u32().map_err(short)? {
                0 => None,
                more if content.len() >= more as usize - 1 => Some(content.split_to(more as usize - 1)),
                _ => return Err("a row is cut off".to_owned()),
            };
            self.rows.insert(cell, row);
        }
        Ok(())
    }
}

/// The sequence of a file's first record, if its header is whole.
fn first_sequence(bytes: &Bytes, id: FileId) -> Option<u64> {
    let found = bytes.get(..HEADER_BYTES)?;
    let sequence = u64::from_be_bytes(found[16..24].try_into().ok()?);
    (found == header(id, sequence)).then_some(sequence)
}

/// The whole record at a place, if there is one with a wanted sequence: its content, and where it ends.
fn record(bytes: &Bytes, id: FileId, at: usize, wanted: impl Fn(u64) -> bool) -> Option<(Bytes, usize)> {
    let mut head = bytes.get(at..at + RECORD_HEAD_BYTES)?;
    let (length, crc, sequence) = (head.get_u32(), head.get_u32(), head.get_u64());
    if !wanted(sequence) {
        return None;
    }
    let begin = at + RECORD_HEAD_BYTES;
    let end = begin.checked_add(length as usize).filter(|end| *end <= bytes.len())?;
    let content = bytes.slice(begin..end);
    let is_whole = checksum(id, length, sequence, &content) == crc;
    is_whole.then(|| (content, end.next_multiple_of(ALIGNMENT)))
}

/// Where a whole record of this file lies behind `at`, whose sequence is not before `next_sequence`.
fn later_record(bytes: &Bytes, id: FileId, at: usize, next_sequence: u64) -> Option<usize> {
    // A file holds fewer records than it has bytes.
    let sequences = next_sequence..=next_sequence.saturating_add(bytes.len() as u64);
    let mut places = (at..bytes.len()).step_by(ALIGNMENT);
    places.find(|place| record(bytes, id, *place, |sequence| sequences.contains(&sequence)).is_some())
}
