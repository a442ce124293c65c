//! One frontend's process: started, killed, paused, started again.

use super::clocks;
use super::signals::{Signal, send};
use crate::proxy::Proxy;
use crate::reach;
use anyhow::{Context as _, bail, ensure};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// From its start until it listens; a large store is checked before.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(60);
/// From SIGTERM to its end.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
const LOG_BYTES_SHOWN: u64 = 6_000;
/// What a shell's user may have set for programs like these.
const FOREIGN: [&str; 2] = ["DRAGON_", "PG"];

/// How a frontend is started.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, OsString)>,
    /// Where it works and its log is.
    pub(super) folder: PathBuf,
    pub(super) log: PathBuf,
}

/// A frontend, running or not.
#[derive(Debug)]
pub(super) struct Process {
    start: Start,
    reached: reach::Frontend,
    proxy: Proxy,
    /// None while it has been ended.
    child: Option<Child>,
}

impl Process {
    /// One that is not started yet, behind a proxy of its own.
    pub(super) fn new(start: Start, proxy: Proxy) -> Self {
        let reached = reach::Frontend::new(proxy.address());
        Self { start, reached, proxy, child: None }
    }

    pub(super) fn reached(&self) -> &reach::Frontend {
        &self.reached
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it and waits until it listens.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "the frontend runs already");
        let log = File::options().create(true).append(true).open(&self.start.log);
        let log = log.with_context(|| format!("opening {}", self.start.log.display()))?;
        let before = log.metadata().context("the log's length")?.len();
        let mut command = Command::new(&self.start.program);
        for (name, _) in std::env::vars_os() {
            if FOREIGN.iter().any(|foreign| name.to_string_lossy().starts_with(foreign)) {
                command.env_remove(name);
            }
        }
        command
            .args(&self.start.arguments)
            .envs(self.start.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.start.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let starting = || format!("starting {}", self.start.program.display());
        self.child = Some(command.spawn().with_context(starting)?);
        let address = self.listening(before).await?;
        self.proxy.lead_to(address);
        Ok(())
    }

    /// Kills it as `kill -9` does, if it runs. It is an error if it has ended by itself.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.reached.goes();
        // Or an end of its own would be taken for this one.
        self.check_alive()?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().context("killing a frontend")?;
        child.wait().context("waiting for a frontend that was killed")?;
        clocks::clean_up(child.id());
        Ok(())
    }

    /// Tells it to end, and waits until it has: with success, or that is an error.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.reached.goes();
        self.signal(Signal::TERM)?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().context("waiting for a frontend's end")? {
                Some(status) => break status,
                None if begun.elapsed() > STOP_TIME_MAX => {
                    self.child = Some(child);
                    bail!("it did not end in {STOP_TIME_MAX:?} after SIGTERM\n{}", self.log());
                }
                None => sleep(POLL).await,
            }
        };
        ensure!(status.success(), "after SIGTERM it ended with {status}\n{}", self.log());
        Ok(())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        send(self.id().context("the frontend does not run")?, signal)
    }

    /// An error if it has ended without having been told to.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            Some(status) => bail!("it ended by itself with {status}\n{}", self.log()),
            None => Ok(()),
        }
    }

    fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), |child| child.try_wait().context("looking after a frontend"))
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut log = File::open(&self.start.log)?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_SHOWN)))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_else(|error| format!("the log can't be read: {error}"));
        format!("the end of {}:\n{text}", self.start.log.display())
    }

    async fn listening(&mut self, log_before: u64) -> anyhow::Result<SocketAddr> {
        let begun = Instant::now();
        loop {
            // Looked at first, so that what it said last is read.
            let ended = self.ended()?;
            if let Some(address) = address_in(&self.start.log, log_before)? {
                return Ok(address);
            }
            if let Some(status) = ended {
                bail!("it ended with {status} before it listened\n{}", self.log());
            }
            ensure!(begun.elapsed() < LISTEN_TIME_MAX, "it does not listen\n{}", self.log());
            sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Where these fail it is gone.
            drop(child.kill());
            drop(child.wait());
            clocks::clean_up(child.id());
        }
    }
}

/// Where the process says it listens, in what it has logged since.
fn address_in(log: &Path, since: u64) -> anyhow::Result<Option<SocketAddr>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(since))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().with_context(|| format!("reading {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let Some((_, rest)) = text.split_once("listening on http://") else { return Ok(None) };
    // The line may still be in the making.
    let Some((address, _)) = rest.split_once('\n') else { return Ok(None) };
    address.trim().parse().map(Some).with_context(|| format!("{address:?} is no address"))
}
