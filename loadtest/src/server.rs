//! The servers under load: started here on free ports, or running already.

use crate::usage;
use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

const START_TIME_MAX: Duration = Duration::from_secs(20);
/// What a server says before its address.
const LISTENING: &str = "listening on http://";

/// A server; one that was started here ends with this, and its data too.
#[derive(Debug)]
pub struct Server {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its process, if known.
    pub pid: Option<u32>,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Server {
    /// Starts `cloud-dragon` on a new data folder in `parent`, or on `store`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(program: &Path, parent: &Path, store: Option<&str>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cloud-dragon-load").tempdir_in(parent)?;
        let store = match store {
            Some(store) => store.to_owned(),
            None => format!("embedded:{}", folder.path().join("data").display()),
        };
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--log", "info", "--log-format", "text", "--store", &store];
        Self::spawn(program, &arguments, Some(folder))
    }

    /// Starts this program's echo server.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_echo() -> Result<Self> {
        Self::spawn(&std::env::current_exe()?, &["echo-server"], None)
    }

    /// A server that runs already, on this machine.
    ///
    /// # Errors
    /// When the URL is not one of this machine's own.
    pub fn running(url: &str, pid: Option<u32>) -> Result<Self> {
        let Some(address) = url.strip_prefix("http://") else { bail!("{url} does not begin with http://") };
        let address = address.trim_end_matches('/').replace("localhost", "127.0.0.1");
        let address: SocketAddr = address.parse().with_context(|| format!("the address in {url}"))?;
        ensure!(address.ip().is_loopback(), "{address} is not this machine: load goes to loopback only");
        Ok(Self { address, pid, child: None, _folder: None })
    }

    /// Whether it was started here.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }

    fn spawn<A: AsRef<OsStr>>(program: &Path, arguments: &[A], folder: Option<TempDir>) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let (address_found, address) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || follow(stderr, &address_found));
        }
        let pid = Some(child.id());
        let mut server =
            Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), pid, child: Some(child), _folder: folder };
        server.address = address
            .recv_timeout(START_TIME_MAX)
            .with_context(|| format!("{} did not say where it listens", program.display()))?;
        Ok(server)
    }

    /// Its CPU time so far, where its process is known.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_time(&self) -> Result<Option<Duration>> {
        self.pid.map(usage::cpu_time).transpose()
    }

    /// Its memory now in KiB, where its process is known.
    ///
    /// # Errors
    /// When it is gone.
    pub fn rss_kib(&self) -> Result<Option<u64>> {
        self.pid.map(usage::rss_kib).transpose()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a server's log to its end: passes its address on, and shows what is out of the ordinary.
fn follow(stderr: ChildStderr, address_found: &mpsc::Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(address) = parse_address(&line) {
            // Nobody waits any more when it took too long.
            let _ = address_found.send(address);
        } else if !line.contains(" INFO ") {
            eprintln!("server: {line}");
        }
    }
}

fn parse_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    rest.split_whitespace().next()?.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let line = "2025-01-01T00:00:00Z  INFO cloud_dragon::serve: listening on http://127.0.0.1:4567";
        assert_eq!(parse_address(line), Some(([127, 0, 0, 1], 4567).into()));
        assert_eq!(parse_address("listening on http://[::1]:80/ now"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(parse_address("listening on http://nowhere"), None);
        assert_eq!(parse_address("INFO stopped"), None);
    }

    #[test]
    fn only_this_machine() {
        for good in ["http://127.0.0.1:8080", "http://localhost:8080/", "http://[::1]:1"] {
            Server::running(good, None).unwrap();
        }
        for bad in ["http://192.0.2.1:8080", "https://127.0.0.1:8080", "127.0.0.1:8080", "http://example.com"]
        {
            assert!(Server::running(bad, None).is_err(), "{bad}");
        }
    }
}
