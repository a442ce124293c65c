//! Measures what embedded storage engines cost a server that commits in groups.

mod engine;
mod fjall_engine;
mod lmdb_engine;
mod log;
mod measure;
mod nothing;
mod redb_engine;
mod sqlite_engine;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::engine::{VARIANTS, Variant};
use crate::measure::{Measured, Run};
use crate::work::KeySet;

/// The page cache that every engine which has one may use: the whole store fits.
const CACHE_BYTES: u64 = 64 << 20;

/// Measures embedded storage engines under group commit, and prints a markdown table.
#[derive(Parser)]
struct Options {
    /// How long one run lasts, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many runs a cell has; the table shows the median.
    #[arg(long, default_value_t = 3)]
    repeats: u64,
    /// Only these engines, by their names in the table.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many requests share one commit.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 400])]
    requests: Vec<usize>,
    /// The folder for the data; it has to be on a real disk.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.repeats > 0, "a cell needs at least one run");
    let variants: Vec<Variant> = VARIANTS
        .iter()
        .filter(|variant| options.only.is_empty() || options.only.iter().any(|name| name == variant.name))
        .copied()
        .collect();
    let rows = work::rows();
    for (key_set, key_set_name) in KeySet::ALL {
        for &requests in &options.requests {
            let mut runs = vec![Vec::new(); variants.len()];
            for seed in 0..options.repeats {
                for (runs, &variant) in runs.iter_mut().zip(&variants) {
                    runs.push(measure::run(Run {
                        variant,
                        key_set,
                        requests,
                        length: Duration::from_secs_f64(options.seconds),
                        seed,
                        rows: &rows,
                        parent: &options.folder,
                    })?);
                }
            }
            print_table(key_set_name, requests, &variants, &runs);
        }
    }
    Ok(())
}

fn print_table(key_set: &str, requests: usize, variants: &[Variant], runs: &[Vec<Measured>]) {
    println!("\n{key_set}, N = {requests}\n");
    println!(
        "| engine | CPU µs/request (min–max) | of it system | wall µs/batch: mean | median | p99 \
         | batches/s | written B/request | disk B/request | flushes/batch | files MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (variant, runs) in variants.iter().zip(runs) {
        let cpu = sorted(runs, |run| run.cpu_us_per_request);
        let wall = median(runs, |run| run.wall_us_per_batch);
        println!(
            "| {} | {:.2} ({:.2}–{:.2}) | {:.2} | {wall:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} |",
            variant.name,
            cpu[cpu.len() / 2],
            cpu[0],
            cpu[cpu.len() - 1],
            median(runs, |run| run.system_us_per_request),
            median(runs, |run| run.median_us_per_batch),
            median(runs, |run| run.p99_us_per_batch),
            1e6 / wall,
            median(runs, |run| run.written_bytes_per_request),
            median(runs, |run| run.disk_bytes_per_request),
            median(runs, |run| run.flushes_per_batch),
            median(runs, |run| run.file_bytes) / f64::from(1 << 20),
        );
    }
}

fn median(runs: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    sorted(runs, of)[runs.len() / 2]
}

fn sorted(runs: &[Measured], of: impl Fn(&Measured) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}
