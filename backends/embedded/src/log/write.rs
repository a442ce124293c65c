//! Writing the log.

use super::{
    ALIGNMENT, FIRST_RECORD_AT, FileId, HEADER_BYTES, RECORD_HEAD_BYTES, checksum, file_of, header, spare,
};
use crate::directory::sync_folder;
use crate::write_engine::{Change, WriteEngine, WriteError};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A new file grows by so much at a time, since a sync that also has to write down a file's new length
/// takes twice as long.
const GROWTH_BYTES: usize = 1 << 20;
const ZEROS: &[u8] = &[0; GROWTH_BYTES];

/// The end of the log.
#[derive(Debug)]
pub(crate) struct Log {
    folder: PathBuf,
    file: File,
    id: FileId,
    /// The sequence of the next record, and where it goes.
    sequence: u64,
    at: u64,
    /// Up to here the file has its blocks.
    allocated: u64,
    record: Vec<u8>,
}

impl Log {
    /// Begins a file.
    pub(crate) fn begin(folder: &Path, id: FileId, first_sequence: u64) -> io::Result<Self> {
        let path = file_of(folder, id.number);
        match std::fs::rename(spare(folder), &path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        let mut head = [0; FIRST_RECORD_AT as usize];
        head[..HEADER_BYTES].copy_from_slice(&header(id, first_sequence));
        file.write_all_at(&head, 0)?;
        file.sync_all()?;
        sync_folder(folder)?;
        let allocated = file.metadata()?.len();
        let (folder, record) = (folder.to_owned(), Vec::new());
        Ok(Self { folder, file, id, sequence: first_sequence, at: FIRST_RECORD_AT, allocated, record })
    }

    /// Lays a change out as the next record.
    fn lay_out(&mut self, change: &Change<'_>) -> io::Result<()> {
        let record = &mut self.record;
        record.clear();
        record.resize(RECORD_HEAD_BYTES, 0);
        record.extend_from_slice(&change.latest_ms.to_be_bytes());
        let too_long = |_| io::Error::other("too long for the log");
        for (cell, row) in &change.rows {
            let name = cell.as_bytes();
            record.extend_from_slice(&u16::try_from(name.len()).map_err(too_long)?.to_be_bytes());
            record.extend_from_slice(name);
            let row: &[u8] = match row {
                None => {
                    record.extend_from_slice(&0_u32.to_be_bytes());
                    continue;
                }
                Some(row) => row,
            };
            record.extend_from_slice(&u32::try_from(row.len() + 1).map_err(too_long)?.to_be_bytes());
            record.extend_from_slice(row);
        }
        let length = u32::try_from(record.len() - RECORD_HEAD_BYTES).map_err(too_long)?;
        let crc = checksum(self.id, length, self.sequence, &record[RECORD_HEAD_BYTES..]);
        record[..4].copy_from_slice(&length.to_be_bytes());
        record[4..8].copy_from_slice(&crc.to_be_bytes());
        record[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
        Ok(())
    }

    fn append(&mut self) -> io::Result<()> {
        let end = self.at + self.record.len() as u64;
        self.file.write_all_at(&self.record, self.at)?;
        if end > self.allocated {
            let zeros = GROWTH_BYTES - (end as usize % GROWTH_BYTES);
            self.file.write_all_at(&ZEROS[..zeros], end)?;
            self.allocated = end + zeros as u64;
        }
        self.file.sync_data()?;
        self.at = end;
        self.sequence += 1;
        Ok(())
    }
}

impl WriteEngine for Log {
    fn write(&mut self, change: &Change<'_>) -> Result<(), WriteError> {
        let failed = |nothing_applied| {
            move |error: io::Error| WriteError { nothing_applied, message: error.to_string() }
        };
        self.lay_out(change).map_err(failed(true))?;
        self.append().map_err(failed(false))
    }

    fn written_bytes(&self) -> u64 {
        self.at
    }

    fn begin_file(&mut self) -> io::Result<u64> {
        let done = self.id.number;
        let next = FileId { number: done + 1, ..self.id };
        *self = Self::begin(&self.folder, next, self.sequence)?;
        Ok(done)
    }
}
