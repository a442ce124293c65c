//! Signals to processes, by their ids.

use anyhow::Context as _;
use rustix::process::{Pid, kill_process};
use std::fs;

pub(crate) use rustix::process::Signal;

/// Sends one.
pub(crate) fn send(process: u32, signal: Signal) -> anyhow::Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).context("a process's id")?;
    kill_process(id, signal).with_context(|| format!("sending {signal:?} to process {process}"))
}

/// The children of a process, by `/proc`; none where it is gone.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    listed.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}
