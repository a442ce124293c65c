//! Load on a Cloud Dragon server over HTTP, with every answer checked.

// Until the scenarios are moved over to `drive` and `plan`.
#![allow(dead_code)]

mod client;
mod closed_loop;
mod cpus;
mod crowd;
mod drive;
mod echo;
mod http;
mod latency;
mod live;
mod machine;
mod options;
mod outcome;
mod peers;
mod plan;
mod probe;
mod random;
mod report;
mod scenarios;
mod server;
mod suite;
mod sync_rate;
mod usage;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use options::{Arguments, Command, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::EchoServer) => echo::serve().map(|()| true),
        None => measure(&arguments.options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is asked for, prints it, and tells whether all of it was right.
fn measure(options: &Options) -> Result<bool> {
    // One thread: the client is cheap, and the server needs the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = tokio::task::LocalSet::new().block_on(&runtime, suite::run(options))?;
    print!("{}", report.markdown());
    if let Some(file) = &options.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(report.failures.is_empty())
}
