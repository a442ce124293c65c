//! What can be done to a cluster.

mod disks;
mod network;
mod processes;

use crate::cluster::{Cluster, Settings, Store};
use crate::random::Random;
use anyhow::{Context as _, ensure};
use std::fmt;
use std::time::Duration;

/// From the end of a fault until all frontends are ready again.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(90);

/// Something that goes wrong, and is mended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// A frontend is killed, and started again after up to 1.5 s.
    FrontendKilled,
    /// A frontend stands still for 0.3 to 6 s.
    FrontendPaused,
    /// A frontend is told to end, and started again.
    FrontendRestarted,
    /// The wall clock of a frontend with its own store goes 1 to 30 s ahead for 0.5 to 4 s, and back; those of
    /// frontends on a database go up to an hour ahead or behind, each by another time.
    ClockJumps,
    /// All connections of clients are reset, at one frontend or at all.
    ClientsCut,
    /// The connections by which the next 1 to 8 answers of each of these frontends come are reset instead.
    AnswersLost,
    /// What clients send and are sent takes up to 50 to 800 ms longer each way, for 1 to 4 s.
    AnswersDelayed,
    /// Nothing comes through between clients and frontends while connections stay open, or clients' sides are reset
    /// and the frontend is not told; for 1 to 5 s, then all are reset.
    ClientsHalfOpen,
    /// The connections to the store are reset, of one frontend or of all.
    StoreCut,
    /// The connections by which one of twelve answers of the store comes are reset instead, for 0.5 to 2 s: what the
    /// answer would have told, a commit perhaps, has happened.
    StoreAnswersLost,
    /// What frontends and store send each other takes up to 20 to 300 ms longer, for 1 to 4 s.
    StoreDelayed,
    /// Nothing comes through between frontends and store while connections stay open, or frontends' sides are reset
    /// and the store is not told; for 1 to 5 s, then all are reset.
    StoreHalfOpen,
    /// The store ends at once and is started again: Postgres by an immediate restart, FoundationDB by SIGKILL. Postgres at once, FoundationDB after up to 1.5 s.
    StoreCrashed,
    /// The store's processes stand still for 0.3 to 4 s.
    StorePaused,
    /// The store ends all its connections.
    ConnectionsTerminated,
    /// Writes fail by ENOSPC for 0.5 to 3 s, after up to 8 KiB that still go in. What does not recover by itself is
    /// started again.
    DiskFull,
    /// Syncs fail by EIO for 0.5 to 3 s. What does not recover by itself is started again; the embedded store may find
    /// then that what was not synced is gone, since the machine may have dropped it.
    FsyncFails,
    /// Each sync takes 50 to 400 ms longer, for 1 to 4 s.
    DiskSlow,
    /// The frontend is killed, and started again after up to 1.5 s on files as a power cut may leave them.
    PowerCut,
}

use Fault::{
    AnswersDelayed, AnswersLost, ClientsCut, ClientsHalfOpen, ClockJumps, ConnectionsTerminated, DiskFull,
    DiskSlow, FrontendKilled, FrontendPaused, FrontendRestarted, FsyncFails, PowerCut, StoreAnswersLost,
    StoreCrashed, StoreCut, StoreDelayed, StoreHalfOpen, StorePaused,
};

/// What can be done to frontends that keep nothing.
const EVERYWHERE: [Fault; 6] =
    [FrontendPaused, ClockJumps, ClientsCut, AnswersLost, AnswersDelayed, ClientsHalfOpen];
const ENDS: [Fault; 2] = [FrontendKilled, FrontendRestarted];
const DISKS: [Fault; 3] = [DiskFull, FsyncFails, DiskSlow];
const STORES: [Fault; 6] =
    [StoreAnswersLost, StoreCut, StoreDelayed, StoreHalfOpen, StoreCrashed, StorePaused];

/// What can be done to a cluster on this store, if it is started for all of it. Frontends that keep their data in memory
/// are never ended.
#[must_use]
pub fn supported(store: Store) -> Vec<Fault> {
    let mut faults = EVERYWHERE.to_vec();
    match store {
        Store::Memory => {}
        Store::Embedded => {
            faults.extend(ENDS);
            faults.extend(DISKS);
            faults.push(PowerCut);
        }
        Store::Postgres { .. } => {
            faults.extend(ENDS);
            faults.extend(STORES);
            faults.push(ConnectionsTerminated);
            faults.extend(DISKS);
        }
        Store::FoundationDb { .. } => {
            faults.extend(ENDS);
            faults.extend(STORES);
        }
    }
    faults
}

impl Settings {
    /// What can be done to a cluster that is started so.
    #[must_use]
    pub fn supported(&self) -> Vec<Fault> {
        let mut faults = supported(self.store);
        faults.retain(|fault| match fault {
            ClockJumps => self.clocks,
            DiskFull | FsyncFails | DiskSlow | PowerCut => self.disks,
            _ => true,
        });
        faults
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            FrontendKilled => "a frontend is killed",
            FrontendPaused => "a frontend stands still",
            FrontendRestarted => "a frontend is restarted",
            ClockJumps => "clocks jump",
            ClientsCut => "clients are cut off",
            AnswersLost => "answers are lost",
            AnswersDelayed => "answers are delayed",
            ClientsHalfOpen => "clients' connections are half open",
            StoreCut => "connections to the store are cut",
            StoreAnswersLost => "the store's answers are lost",
            StoreDelayed => "the store's answers are delayed",
            StoreHalfOpen => "connections to the store are half open",
            StoreCrashed => "the store crashes",
            StorePaused => "the store stands still",
            ConnectionsTerminated => "the store ends its connections",
            DiskFull => "the disk is full",
            FsyncFails => "syncs fail",
            DiskSlow => "the disk is slow",
            PowerCut => "the power is cut",
        })
    }
}

impl Cluster {
    /// Causes a fault, keeps it up for a while as chance has it, mends it, and waits until all frontends are
    /// ready again.
    ///
    /// # Errors
    /// Where the cluster can't have this fault, a frontend ended by itself, or they are not ready within 90 s.
    pub async fn strike(&mut self, fault: Fault, random: &mut Random) -> anyhow::Result<()> {
        let supported = self.settings().supported();
        ensure!(supported.contains(&fault), "this cluster was not started for this fault: {fault}");
        self.check_alive().with_context(|| format!("before this fault: {fault}"))?;
        self.cause(fault, random).await.with_context(|| format!("fault: {fault}"))?;
        self.wait_until_ready(RECOVERY_TIME_MAX).await.with_context(|| format!("after this fault: {fault}"))
    }

    async fn cause(&mut self, fault: Fault, random: &mut Random) -> anyhow::Result<()> {
        match fault {
            FrontendKilled => self.kill_one(random).await,
            FrontendPaused => self.pause_one(random).await,
            FrontendRestarted => self.restart_one(random).await,
            ClockJumps => self.clocks_jump(random).await,
            ClientsCut => self.cut_clients(random).await,
            AnswersLost => self.lose_answers(random).await,
            AnswersDelayed => self.delay_answers(random).await,
            ClientsHalfOpen => self.half_open_clients(random).await,
            StoreCut => self.cut_store(random).await,
            StoreAnswersLost => self.lose_store_answers(random).await,
            StoreDelayed => self.delay_store(random).await,
            StoreHalfOpen => self.half_open_store(random).await,
            StoreCrashed => self.backing.crash(random.millis(0..=1_500)).await,
            StorePaused => self.pause_store(random).await,
            ConnectionsTerminated => self.backing.terminate_connections().await,
            DiskFull => self.fill_disk(random).await,
            FsyncFails => self.fail_syncs(random).await,
            DiskSlow => self.slow_disk(random).await,
            PowerCut => self.cut_power(random).await,
        }
    }
}
