//! One cell of the table: an engine, a key set and a batch size, run for a while.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::stat::{major, minor};
use nix::sys::time::TimeValLike;

use crate::engine::Variant;
use crate::work::{Batch, KeySet};

/// What a run is asked to do.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The engine.
    pub variant: Variant,
    /// The keys.
    pub key_set: KeySet,
    /// How many requests share one commit.
    pub requests: usize,
    /// How long the run lasts.
    pub length: Duration,
    /// Sets the order of the keys.
    pub seed: u64,
    /// The rows to start with.
    pub rows: &'a [(Vec<u8>, Vec<u8>)],
    /// Where the folder of the engine is made.
    pub parent: &'a Path,
}

/// What a run took.
#[derive(Clone, Copy)]
pub struct Measured {
    /// CPU time of all threads of the process, user and system.
    pub cpu_us_per_request: f64,
    /// The system part of it.
    pub system_us_per_request: f64,
    /// Wall time.
    pub wall_us_per_batch: f64,
    /// The median of the wall times of the batches.
    pub median_us_per_batch: f64,
    /// The 99th percentile of them.
    pub p99_us_per_batch: f64,
    /// What the process passed to the kernel in write calls.
    pub written_bytes_per_request: f64,
    /// What the disk wrote meanwhile, for whomever.
    pub disk_bytes_per_request: f64,
    /// How often the disk flushed its cache meanwhile, for whomever.
    pub flushes_per_batch: f64,
    /// The space that the files of the engine take at the end.
    pub file_bytes: f64,
}

/// Loads a fresh store, warms it up and measures it.
pub fn run(run: Run<'_>) -> Result<Measured> {
    let folder = tempfile::tempdir_in(run.parent)?;
    let mut engine = (run.variant.open)(folder.path())?;
    engine.load(run.rows)?;
    let cached = run.variant.cached.then_some(run.rows);
    let mut batch = Batch::new(run.key_set, run.requests, run.seed, cached);
    for _ in 0..20 {
        engine.commit(&mut batch)?;
        batch.committed();
    }
    nix::unistd::sync();

    let mut walls = Vec::new();
    let disk = Disk::of(folder.path())?;
    let disk_before = disk.counters()?;
    let written = written_bytes()?;
    let cpu = cpu()?;
    let start = Instant::now();
    let mut last = Duration::ZERO;
    while last < run.length {
        engine.commit(&mut batch)?;
        batch.committed();
        let now = start.elapsed();
        walls.push(us(now - last));
        last = now;
    }
    let (user, system) = self::cpu().map(|end| (end.0 - cpu.0, end.1 - cpu.1))?;
    let written = written_bytes()? - written;
    let disk_after = disk.counters()?;
    let file_bytes = file_bytes(folder.path())?;

    let batches = walls.len() as f64;
    let requests = batches * run.requests as f64;
    walls.sort_by(f64::total_cmp);
    Ok(Measured {
        cpu_us_per_request: (user + system) / requests,
        system_us_per_request: system / requests,
        wall_us_per_batch: us(last) / batches,
        median_us_per_batch: walls[walls.len() / 2],
        p99_us_per_batch: walls[walls.len() * 99 / 100],
        written_bytes_per_request: written as f64 / requests,
        disk_bytes_per_request: (disk_after.bytes - disk_before.bytes) as f64 / requests,
        flushes_per_batch: (disk_after.flushes - disk_before.flushes) as f64 / batches,
        file_bytes: file_bytes as f64,
    })
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// User and system time of this process so far, in microseconds.
fn cpu() -> Result<(f64, f64)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() as f64, usage.system_time().num_microseconds() as f64))
}

/// The bytes that this process passed to write calls so far.
fn written_bytes() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let bytes = io
        .lines()
        .find_map(|line| line.strip_prefix("wchar: "))
        .context("/proc/self/io does not tell the bytes written")?;
    Ok(bytes.parse()?)
}

/// The counters of the block device below a folder.
struct Disk {
    path: PathBuf,
}

struct DiskCounters {
    bytes: u64,
    flushes: u64,
}

impl Disk {
    fn of(folder: &Path) -> Result<Self> {
        let device = fs::metadata(folder)?.dev();
        let path = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
        Ok(Self { path: path.into() })
    }

    fn counters(&self) -> Result<DiskCounters> {
        let stat = fs::read_to_string(&self.path)
            .context("the folder is not on a block device, so no disk is measured")?;
        let field = |index: usize| -> Result<u64> {
            let field = stat.split_whitespace().nth(index);
            Ok(field.context("the device has too few counters")?.parse()?)
        };
        Ok(DiskCounters { bytes: field(6)? * 512, flushes: field(15)? })
    }
}

/// The space that the files below a folder take on disk.
fn file_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { file_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}
