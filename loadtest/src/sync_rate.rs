//! How often the machine makes a small write durable, one after another: what no durable hand-over that
//! needs a sync of its own can pass.

use anyhow::Result;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK: [u8; 4096] = [0x5a; 4096];
const BLOCKS: u64 = 256;

/// Overwrites 4 KiB and calls fdatasync, again and again, in a file in `folder`; returns how often a second.
///
/// # Errors
/// When the folder can't be written to.
pub fn syncs_per_s(folder: &Path, length: Duration) -> Result<f64> {
    let file = tempfile::tempfile_in(folder)?;
    for block in 0..BLOCKS {
        file.write_all_at(&BLOCK, block * BLOCK.len() as u64)?;
    }
    file.sync_all()?;
    let begun = Instant::now();
    let mut syncs = 0;
    while begun.elapsed() < length {
        file.write_all_at(&BLOCK, (syncs % BLOCKS) * BLOCK.len() as u64)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(syncs as f64 / begun.elapsed().as_secs_f64())
}
