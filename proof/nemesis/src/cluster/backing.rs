//! What is behind the frontends: a folder, a Postgres, a FoundationDB cluster.

use super::settings::{Settings, Store};
use super::signals::{Signal, children, send};
use crate::disk::{Disk, Image, Shim, read_journal};
use crate::proxy::Proxy;
use crate::random::Random;
use anyhow::{Context as _, anyhow, bail};
use dragon_private_foundationdb::Cluster as FoundationDb;
use dragon_private_postgres::{Server as Postgres, address_of};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const SCHEMA: &str = "dragon";

/// Something that a frontend's data is in.
#[derive(Debug)]
pub(crate) enum Backing {
    Memory,
    Embedded(Folder),
    Postgres {
        server: Arc<Postgres>,
        proxies: Vec<Proxy>,
        shim: Option<Shim>,
    },
    /// All frontends reach it by the one address that it says it has.
    FoundationDb {
        cluster: Arc<Mutex<FoundationDb>>,
        address: String,
        proxy: Proxy,
    },
}

/// The embedded store's.
#[derive(Debug)]
pub(crate) struct Folder {
    data: PathBuf,
    /// What is durable of it, as far as the journal has been read.
    disk: Disk,
    shim: Option<Shim>,
}

impl Backing {
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        match settings.store {
            Store::Memory => Ok(Self::Memory),
            Store::Embedded => {
                let data = settings.folder.join("data");
                let shim = settings.disks.then(|| Shim::build(&settings.folder, &data, true)).transpose()?;
                Ok(Self::Embedded(Folder { data, disk: Disk::default(), shim }))
            }
            Store::Postgres { frontends } => Self::start_postgres(settings, frontends).await,
            Store::FoundationDb { .. } => Self::start_foundationdb(settings).await,
        }
    }

    async fn start_postgres(settings: &Settings, frontends: usize) -> anyhow::Result<Self> {
        let has_shim = settings.disks;
        let (server, shim) = blocking("starting Postgres", move || {
            let mut server = Postgres::start_with_tcp("");
            if !has_shim {
                return Ok((server, None));
            }
            // In its own folder, which its user can read whatever the user of this process.
            let shim = Shim::build(server.folder(), &server.folder().join("data"), false)?;
            std::fs::set_permissions(shim.control_path(), Permissions::from_mode(0o666))?;
            server.stop();
            let mut environment = vec![("LD_PRELOAD".to_owned(), shim.library().into())];
            environment.extend(shim.environment().into_iter().map(|(name, value)| (name, value.into())));
            server.set_environment(environment);
            server.start_again();
            anyhow::Ok((server, Some(shim)))
        })
        .await??;
        let port = server.port().context("it was started with TCP")?;
        let mut proxies = Vec::new();
        for frontend in 0..frontends {
            let proxy = Proxy::start(settings.seed ^ (0x5_70_7E + frontend as u64)).await?;
            proxy.lead_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            proxies.push(proxy);
        }
        Ok(Self::Postgres { server: Arc::new(server), proxies, shim })
    }

    async fn start_foundationdb(settings: &Settings) -> anyhow::Result<Self> {
        if !dragon_private_foundationdb::is_available() {
            bail!("there is no fdbserver on PATH, and none is named by DRAGON_FDBSERVER");
        }
        let proxy = Proxy::start(settings.seed ^ 0x5_70_7E).await?;
        let listening = dragon_private_foundationdb::free_port();
        proxy.lead_to(SocketAddr::from((Ipv4Addr::LOCALHOST, listening)));
        let public = proxy.address().port();
        let started =
            blocking("starting FoundationDB", move || FoundationDb::start_behind(public, listening));
        let cluster = started.await?;
        let address = cluster.fresh_address();
        Ok(Self::FoundationDb { cluster: Arc::new(Mutex::new(cluster)), address, proxy })
    }

    /// The setting `--store` of a frontend.
    pub(super) fn address_for(&self, frontend: usize) -> anyhow::Result<String> {
        Ok(match self {
            Self::Memory => "memory:".to_owned(),
            Self::Embedded(folder) => format!("embedded:{}", folder.data.display()),
            Self::Postgres { proxies, .. } => {
                let proxy = proxies.get(frontend).context("each frontend has a proxy")?.address();
                address_of(&format!("postgres://postgres@{proxy}/postgres?sslmode=disable"), SCHEMA)
            }
            Self::FoundationDb { address, .. } => address.clone(),
        })
    }

    /// The library to be loaded into the frontend and its environment, if it is there that the disk fails.
    pub(super) fn frontend_shim(&self) -> Option<(OsString, Vec<(String, String)>)> {
        match self {
            Self::Embedded(Folder { shim: Some(shim), .. }) => {
                Some((shim.library().into(), shim.environment()))
            }
            _ => None,
        }
    }

    /// The disk that can be made to fail, if there is one.
    pub(crate) fn shim(&self) -> Option<&Shim> {
        match self {
            Self::Embedded(folder) => folder.shim.as_ref(),
            Self::Postgres { shim, .. } => shim.as_ref(),
            Self::Memory | Self::FoundationDb { .. } => None,
        }
    }

    /// The proxies between it and the frontends.
    pub(crate) fn proxies(&self) -> &[Proxy] {
        match self {
            Self::Memory | Self::Embedded(_) => &[],
            Self::Postgres { proxies, .. } => proxies,
            Self::FoundationDb { proxy, .. } => std::slice::from_ref(proxy),
        }
    }

    /// Takes note of what the last process has done to the files, before another one is started on them.
    pub(super) fn before_start(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(folder) => folder.before_start(),
            _ => Ok(()),
        }
    }

    /// Has the files be what a power cut leaves. The frontend must have been killed.
    pub(crate) fn cut_power(&mut self, random: &mut Random) -> anyhow::Result<()> {
        match self {
            Self::Embedded(folder) => folder.cut_power(random),
            _ => bail!("there is no data folder"),
        }
    }

    /// Kills its processes and starts it again, after so long where it can be kept down; starts it where it is dead.
    pub(crate) async fn crash(&self, down: Duration) -> anyhow::Result<()> {
        match self {
            Self::Postgres { server, .. } => {
                let server = Arc::clone(server);
                blocking("crashing Postgres", move || server.crash()).await
            }
            Self::FoundationDb { cluster, .. } => {
                let cluster = Arc::clone(cluster);
                blocking("crashing FoundationDB", move || {
                    let mut cluster = cluster.lock();
                    cluster.kill(0);
                    std::thread::sleep(down);
                    cluster.start_process(0);
                })
                .await
            }
            Self::Memory | Self::Embedded(_) => bail!("the store is in the frontend"),
        }
    }

    /// Ends its clients' connections from its side.
    pub(crate) async fn terminate_connections(&self) -> anyhow::Result<()> {
        let Self::Postgres { server, .. } = self else { bail!("only Postgres ends connections") };
        let server = Arc::clone(server);
        let ended = tokio::spawn(async move { server.kill_connections().await });
        ended.await.map_err(|error| told("ending connections", error))
    }

    /// Its processes, parents before their children.
    pub(crate) fn processes(&self) -> Vec<u32> {
        match self {
            Self::Memory | Self::Embedded(_) => Vec::new(),
            Self::Postgres { server, .. } => server
                .process_id()
                .into_iter()
                .flat_map(|parent| std::iter::once(parent).chain(children(parent)))
                .collect(),
            Self::FoundationDb { cluster, .. } => {
                let cluster = cluster.lock();
                cluster.keepers().into_iter().flat_map(children).collect()
            }
        }
    }

    /// Sends its processes a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some((first, further)) =
            self.processes().split_first().map(|(first, rest)| (*first, rest.to_vec()))
        else {
            bail!("the store has no process");
        };
        send(first, signal)?;
        // A child may have ended in between.
        further.into_iter().for_each(|process| drop(send(process, signal)));
        Ok(())
    }
}

impl Folder {
    /// Reads what the journal has, and empties it: the process that wrote it is gone.
    fn read_journal(&mut self) -> anyhow::Result<()> {
        let Some(journal) = self.shim.as_ref().and_then(Shim::journal) else { return Ok(()) };
        read_journal(journal, |event| self.disk.apply(event))?;
        self.disk.process_ended();
        if journal.exists() {
            std::fs::remove_file(journal).context("removing the journal")?;
        }
        Ok(())
    }

    fn before_start(&mut self) -> anyhow::Result<()> {
        if self.shim.is_some() {
            self.read_journal()?;
            self.disk.becomes(&Image::of(&self.data)?);
        }
        Ok(())
    }

    fn cut_power(&mut self, random: &mut Random) -> anyhow::Result<()> {
        anyhow::ensure!(self.shim.is_some(), "the cluster was started without faults of disks");
        self.read_journal()?;
        let image = self.disk.cut_power(random);
        image.write_to(&self.data)?;
        self.disk = Disk::from_image(image);
        Ok(())
    }
}

/// Runs what blocks and, where it fails, panics.
async fn blocking<T: Send + 'static>(
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(run).await.map_err(|error| told(what, error))
}

fn told(what: &str, error: tokio::task::JoinError) -> anyhow::Error {
    let Ok(panic) = error.try_into_panic() else { return anyhow!("{what} was broken off") };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("{what} failed: {}", text.unwrap_or("it panicked"))
}
