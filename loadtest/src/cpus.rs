//! Which cores the client and the servers run on.

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::process::{Child, Command};

/// Cores, as a list like `0,2-3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

impl std::str::FromStr for CpuList {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse()?, last.parse()?);
            ensure!(first <= last && last < CpuSet::MAX_CPU, "{part} is no range of cores");
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl CpuList {
    fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|cpu| set.set(*cpu));
        set
    }
}

/// Where servers run.
#[derive(Clone, Debug)]
pub struct Cpus {
    server: CpuSet,
    client: CpuSet,
}

impl Cpus {
    /// Moves this thread, and those that it will start, to the client's cores. Servers started through this
    /// get the cores named for them, else those that this process had.
    ///
    /// # Errors
    /// When there are no such cores.
    pub fn pin(client: Option<&CpuList>, server: Option<&CpuList>) -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let cpus =
            Self { client: client.map_or(all, CpuList::set), server: server.map_or(all, CpuList::set) };
        // Tried here, to fail at once and with the option's name.
        sched_setaffinity(None, &cpus.server).context("--server-cpus")?;
        sched_setaffinity(None, &cpus.client).context("--client-cpus")?;
        Ok(cpus)
    }

    /// Starts a server on its cores: a process gets those of the thread that starts it, as with `taskset`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        sched_setaffinity(None, &self.server)?;
        let child = command.spawn();
        sched_setaffinity(None, &self.client)?;
        child.with_context(|| format!("starting {}", command.get_program().display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = |text: &str| text.parse::<CpuList>();
        assert_eq!(list("0,2-4").unwrap(), CpuList(vec![0, 2, 3, 4]));
        for bad in ["", "a", "3-1", "0,", "99999999"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_get_their_cores() {
        let allowed = |command: &mut Command, cpus: &Cpus| {
            let child = cpus.spawn(command.arg("/proc/self/status").stdout(std::process::Stdio::piped()));
            let output = String::from_utf8(child.unwrap().wait_with_output().unwrap().stdout).unwrap();
            output.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t").map(str::to_owned))
        };
        let all = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
        let list: CpuList = first.to_string().parse().unwrap();
        let cpus = Cpus::pin(None, Some(&list)).unwrap();
        assert_eq!(allowed(&mut Command::new("cat"), &cpus), Some(first.to_string()));
        assert_eq!(sched_getaffinity(None).unwrap().count(), all.count());
    }
}
