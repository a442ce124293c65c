//! No engine: a log that rows are appended to. Nothing that commits can cost less than this.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, bail};

use crate::engine::Engine;
use crate::work::Batch;

const PREALLOCATED_BYTES: u64 = 64 << 20;

struct Log {
    file: File,
    at: u64,
    /// Where the log starts over; a log without it grows.
    end: Option<u64>,
    buffer: Vec<u8>,
}

/// A log whose file grows: a sync has to write the new file size too.
pub fn open_growing(folder: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(open(folder, None)?))
}

/// A log in a file that was written once before: a sync writes the data only.
pub fn open_preallocated(folder: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(open(folder, Some(PREALLOCATED_BYTES))?))
}

fn open(folder: &Path, end: Option<u64>) -> Result<Log> {
    let file = OpenOptions::new().create_new(true).write(true).open(folder.join("log"))?;
    let zeros = vec![0; 1 << 20];
    for at in (0..end.unwrap_or(0)).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    Ok(Log { file, at: 0, end, buffer: Vec::new() })
}

impl Log {
    fn append<'a>(&mut self, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        self.buffer.clear();
        for (key, value) in rows {
            for part in [key, value] {
                let length = u32::try_from(part.len())?;
                self.buffer.extend_from_slice(&length.to_le_bytes());
                self.buffer.extend_from_slice(part);
            }
        }
        let length = u64::try_from(self.buffer.len())?;
        if self.end.is_some_and(|end| self.at + length > end) {
            self.at = 0;
        }
        self.file.write_all_at(&self.buffer, self.at)?;
        self.file.sync_data()?;
        self.at += length;
        Ok(())
    }
}

impl Engine for Log {
    fn load(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.append(rows.iter().map(|(key, value)| (&key[..], &value[..])))
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        batch.run(|_, _| bail!("a log has no reads"))?;
        self.append(batch.changed())
    }
}
