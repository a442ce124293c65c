//! Load on a Cloud Dragon server over HTTP, with every answer checked.

mod answers;
mod book;
mod client;
mod cpus;
mod crowd;
mod database;
mod dataset;
mod drive;
mod echo;
mod exchange;
mod http;
mod latency;
mod live;
mod machine;
mod on_database;
mod options;
mod outcome;
mod peers;
mod plan;
mod probe;
mod process;
mod progress;
mod random;
mod report;
mod scan;
mod scenarios;
mod server;
mod space;
mod suite;
mod sync_rate;
mod usage;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use options::{Arguments, Command, Options};
use std::path::Path;
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
    let servers = &options.servers;
    let cpus = cpus::Cpus::pin(servers.client_cpus.as_ref(), servers.server_cpus.as_ref())?;
    // One thread: the client is cheap, and the server needs the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = tokio::task::LocalSet::new().block_on(&runtime, suite::run(options, cpus))?;
    print!("{}", report.markdown());
    if let Some(file) = &options.output.json {
        write(file, &report.json()?)?;
    }
    if let Some(file) = &options.output.html {
        write(file, report.html().as_bytes())?;
    }
    Ok(report.failures.is_empty())
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}
