//! Frontends over one store, all of them real processes, and a proxy on each way between clients, frontends and store.

mod backing;
mod clocks;
mod process;
mod settings;
mod signals;

use crate::disk::Counts;
use crate::proxy::Proxy;
use crate::reach;
use anyhow::{Context as _, ensure};
pub(crate) use backing::Backing;
pub(crate) use clocks::Clock;
use process::{Process, Start};
pub use settings::{Settings, Store};
pub(crate) use signals::Signal;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long one question for a frontend's readiness may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// A running cluster. Dropping it kills all of it; what is in the scratch folder stays.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    // Before what they stand on: what is first here is ended first.
    frontends: Vec<Process>,
    clocks: Vec<Clock>,
    pub(crate) backing: Backing,
}

impl Cluster {
    /// Starts the store, then the frontends, and waits until they listen, not until they are ready.
    ///
    /// # Errors
    /// Where a program is missing or does not start; with the end of its log.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        ensure!(settings.store.frontends() > 0, "a cluster needs a frontend");
        // The processes run in it, and are told of files in it.
        let folder = settings.folder.canonicalize();
        let folder = folder.with_context(|| format!("the folder {}", settings.folder.display()))?;
        let program = settings.program.canonicalize();
        let program = program.with_context(|| format!("the program {}", settings.program.display()))?;
        let settings = &Settings { folder, program, ..settings.clone() };
        let backing =
            Backing::start(settings).await.with_context(|| format!("the store: {}", settings.store))?;
        let mut cluster =
            Self { settings: settings.clone(), frontends: Vec::new(), clocks: Vec::new(), backing };
        for frontend in 0..settings.store.frontends() {
            let start = cluster.how_to_start(frontend)?;
            let proxy = Proxy::start(settings.seed ^ (0xC11E47 + frontend as u64)).await?;
            cluster.frontends.push(Process::new(start, proxy));
            cluster.start_frontend(frontend).await?;
        }
        if let Some(counts) = cluster.disk_counts()? {
            ensure!(
                counts.loaded > 0,
                "the library for faults of disks was not loaded: is the program static?"
            );
        }
        Ok(cluster)
    }

    fn how_to_start(&mut self, frontend: usize) -> anyhow::Result<Start> {
        let settings = &self.settings;
        let serve = ["serve", "--listen", "127.0.0.1:0", "--drain-delay", "0", "--store"];
        let mut arguments: Vec<OsString> = serve.map(OsString::from).to_vec();
        arguments.push(self.backing.address_for(frontend)?.into());
        arguments.extend(settings.arguments.iter().map(OsString::from));
        let mut environment = Vec::new();
        let mut preloaded = Vec::new();
        if settings.clocks {
            let clock = Clock::new(settings.folder.join(format!("clock-{frontend}")))?;
            environment.extend(clock.environment());
            preloaded.push(clocks::library()?.into_os_string());
            self.clocks.push(clock);
        }
        if let Some((library, its)) = self.backing.frontend_shim() {
            environment.extend(its.into_iter().map(|(name, value)| (name, value.into())));
            preloaded.push(library);
        }
        if !preloaded.is_empty() {
            environment.push(("LD_PRELOAD".to_owned(), preloaded.join(":".as_ref())));
        }
        let program = settings.program.canonicalize();
        let program = program.with_context(|| format!("the program {}", settings.program.display()))?;
        let log = settings.folder.join(format!("frontend-{frontend}.log"));
        Ok(Start { program, arguments, environment, folder: settings.folder.clone(), log })
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where its frontends are reached by clients.
    #[must_use]
    pub fn frontends(&self) -> Vec<reach::Frontend> {
        self.frontends.iter().map(|frontend| frontend.reached().clone()).collect()
    }

    /// A frontend's process; none while it is not running.
    #[must_use]
    pub fn frontend_pid(&self, frontend: usize) -> Option<u32> {
        self.frontends.get(frontend)?.id()
    }

    /// The end of a frontend's log.
    #[must_use]
    pub fn frontend_log(&self, frontend: usize) -> String {
        self.frontends.get(frontend).map_or_else(String::new, Process::log)
    }

    /// What the failing disk has done so far; none where there is none.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn disk_counts(&self) -> anyhow::Result<Option<Counts>> {
        self.backing.shim().map(crate::disk::Shim::counts).transpose()
    }

    /// How many connections there have been from frontends to the store, where these go through a proxy.
    #[must_use]
    pub fn store_connections(&self) -> usize {
        self.backing.proxies().iter().map(Proxy::connections).sum()
    }

    /// Whether all frontends run that should.
    ///
    /// # Errors
    /// Where one has ended by itself; with the end of its log.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        for (number, frontend) in self.frontends.iter_mut().enumerate() {
            frontend.check_alive().with_context(|| format!("frontend {number}"))?;
        }
        Ok(())
    }

    /// Waits until all frontends say, through their proxies, that they are ready.
    ///
    /// # Errors
    /// Where one has ended by itself, or they are not ready in time.
    pub async fn wait_until_ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        for number in 0..self.frontends.len() {
            let address = self.frontends[number].reached().address;
            while !is_ready(address).await {
                self.check_alive()?;
                let log = || format!("frontend {number} is not ready\n{}", self.frontend_log(number));
                ensure!(begun.elapsed() < within, log());
                sleep(POLL).await;
            }
        }
        self.check_alive()
    }

    /// Kills a frontend, if it runs.
    pub(crate) fn kill_frontend(&mut self, frontend: usize) -> anyhow::Result<()> {
        self.process(frontend)?.kill().with_context(|| format!("frontend {frontend}"))
    }

    /// Ends a frontend in order.
    pub(crate) async fn stop_frontend(&mut self, frontend: usize) -> anyhow::Result<()> {
        let process = self.process(frontend)?;
        process.stop().await.with_context(|| format!("frontend {frontend}"))
    }

    /// Starts a frontend that has been ended.
    pub(crate) async fn start_frontend(&mut self, frontend: usize) -> anyhow::Result<()> {
        self.backing.before_start()?;
        let process = self.process(frontend)?;
        process.start().await.with_context(|| format!("frontend {frontend}"))
    }

    pub(crate) fn signal_frontend(&mut self, frontend: usize, signal: Signal) -> anyhow::Result<()> {
        self.process(frontend)?.signal(signal)
    }

    /// The proxy between a frontend and its clients.
    pub(crate) fn client_proxies(&self) -> Vec<&Proxy> {
        self.frontends.iter().map(Process::proxy).collect()
    }

    /// The frontends' clocks; none where they can't be set.
    pub(crate) fn clocks(&self) -> &[Clock] {
        &self.clocks
    }

    fn process(&mut self, frontend: usize) -> anyhow::Result<&mut Process> {
        self.frontends.get_mut(frontend).with_context(|| format!("there is no frontend {frontend}"))
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    matches!(timeout(ASK_TIME_MAX, ask).await, Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200 "))
}
