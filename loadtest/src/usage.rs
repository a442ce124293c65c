//! What processes have used, from /proc.

use anyhow::{Context as _, Result};
use std::fs;
use std::time::Duration;

/// The unit of CPU times in /proc: 1/100 s on every Linux that this program runs on.
const TICK: Duration = Duration::from_millis(10);

/// The processes of one server.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    singles: Vec<u32>,
    /// Those of which the ones that they started count too (a server with a process for each connection).
    families: Vec<u32>,
}

impl Processes {
    /// A server of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A server that is one process.
    #[must_use]
    pub fn one(pid: u32) -> Self {
        Self { singles: vec![pid], families: Vec::new() }
    }

    /// A server that is a process with all that it started, and they started.
    #[must_use]
    pub fn family(pid: u32) -> Self {
        Self { singles: Vec::new(), families: vec![pid] }
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.singles.extend(others.singles);
        self.families.extend(others.families);
        self
    }

    /// CPU time so far, in user and system mode, where there is something to ask. Children that have ended
    /// and were waited for are in it.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn cpu_time(&self) -> Result<Option<Duration>> {
        self.sum(cpu_time, cpu_time_with_ended)
    }

    /// Memory in RAM now, in KiB. Of a family it is the proportional share, since its members share much.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn rss_kib(&self) -> Result<Option<u64>> {
        self.sum(rss_kib, pss_kib)
    }

    /// The most memory since [`Self::forget_rss_peak`]; not known of a family.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn rss_peak_kib(&self) -> Result<Option<u64>> {
        if self.families.is_empty() { self.sum(rss_peak_kib, rss_peak_kib) } else { Ok(None) }
    }

    /// Begins a new peak, where the kernel lets us; else the old one stays.
    pub fn forget_rss_peak(&self) {
        for pid in &self.singles {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    fn sum<T: std::iter::Sum>(
        &self,
        of: fn(u32) -> Result<T>,
        of_member: fn(u32) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.singles.is_empty() && self.families.is_empty() {
            return Ok(None);
        }
        let singles = self.singles.iter().map(|pid| of(*pid));
        let roots = self.families.iter().map(|pid| of_member(*pid));
        // Children come and go, so one that is gone is no error.
        let children = if self.families.is_empty() { Vec::new() } else { descendants(&self.families) };
        let children = children.into_iter().filter_map(|pid| of_member(pid).ok().map(Ok));
        singles.chain(roots).chain(children).sum::<Result<T>>().map(Some)
    }
}

/// All that these processes started, and they started, as far as they run.
fn descendants(roots: &[u32]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = pids
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut family = roots.to_vec();
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    family.split_off(roots.len())
}

/// CPU time of a process so far, in user and system mode.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    read(pid, "stat", |stat| parse_cpu_time(stat, 2))
}

fn cpu_time_with_ended(pid: u32) -> Result<Duration> {
    read(pid, "stat", |stat| parse_cpu_time(stat, 4))
}

/// Memory of a process that is in RAM now, in KiB.
///
/// # Errors
/// When there is no such process.
pub fn rss_kib(pid: u32) -> Result<u64> {
    read(pid, "status", |status| parse_kib(status, "VmRSS:"))
}

fn rss_peak_kib(pid: u32) -> Result<u64> {
    read(pid, "status", |status| parse_kib(status, "VmHWM:"))
}

fn pss_kib(pid: u32) -> Result<u64> {
    read(pid, "smaps_rollup", |rollup| parse_kib(rollup, "Pss:"))
}

fn read<T>(pid: u32, file: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse(&text).context(path)
}

/// The sum of so many times: user, system, and the two of children that ended.
fn parse_cpu_time(stat: &str, times: usize) -> Option<Duration> {
    // The name, in brackets, may contain anything; the fields behind it are numbers.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<u32> =
        fields.split(' ').skip(11).take(times).map_while(|field| field.parse().ok()).collect();
    (fields.len() == times).then(|| TICK * fields.iter().sum())
}

fn parse_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 8 20 0 4 0 100 1000 10\n";
        assert_eq!(parse_cpu_time(stat, 2), Some(Duration::from_secs(3)));
        assert_eq!(parse_cpu_time(stat, 4), Some(Duration::from_millis(3150)));
        assert_eq!(parse_cpu_time("42 (a", 2), None);
        let status = "Name:\tx\nVmHWM:\t   2345 kB\nVmRSS:\t   1234 kB\n";
        assert_eq!(parse_kib(status, "VmRSS:"), Some(1234));
        assert_eq!(parse_kib(status, "VmHWM:"), Some(2345));
        assert_eq!(parse_kib("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_and_its_child() {
        let me = std::process::id();
        let processes = Processes::one(me);
        processes.forget_rss_peak();
        assert!(processes.rss_kib().unwrap().unwrap() > 100);
        assert!(processes.rss_peak_kib().unwrap().unwrap() > 100);
        processes.cpu_time().unwrap().unwrap();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let family = Processes::family(me);
        assert!(descendants(&[me]).contains(&child.id()));
        assert!(family.rss_kib().unwrap().unwrap() > 100);
        assert_eq!(family.rss_peak_kib().unwrap(), None);
        let both = Processes::one(child.id()).and(family.clone());
        assert!(both.rss_kib().unwrap() > family.rss_kib().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(family.cpu_time().unwrap().unwrap() >= processes.cpu_time().unwrap().unwrap());
        assert_eq!(Processes::unknown().cpu_time().unwrap(), None);
    }
}
