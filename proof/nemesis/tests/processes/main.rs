//! Real processes. Each fault is caused once: it has its effect, and afterwards the cluster serves again and has all that it
//! acknowledged. Then load without faults, and short campaigns of both.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod campaigns;
mod client;
mod embedded;
mod foundationdb;
mod load;
mod postgres;

use client::{Told, clients, counter};
use dragon_nemesis::cluster::{Cluster, Settings, Store};
use dragon_nemesis::faults::Fault;
use dragon_nemesis::random::Random;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

/// The program under test.
fn program() -> PathBuf {
    if let Some(given) = std::env::var_os("DRAGON_NEMESIS_PROGRAM") {
        return given.into();
    }
    let this = std::env::current_exe().unwrap();
    let beside = this.ancestors().skip(1).map(|folder| folder.join("cloud-dragon"));
    let workspace = this.ancestors().map(|folder| folder.join("target/debug/cloud-dragon"));
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/cloud-dragon");
    beside.chain(workspace).chain([source]).find(|program| program.is_file()).expect(
        "there is no program to test: build it by `cargo build -p cloud-dragon`, or name one by \
         DRAGON_NEMESIS_PROGRAM",
    )
}

/// A cluster that may have all faults of its store.
fn settings(store: Store, seed: u64, folder: &Path) -> Settings {
    Settings {
        program: program(),
        store,
        folder: folder.to_owned(),
        seed,
        clocks: true,
        disks: true,
        // So that the log is moved to the database while the disk fails.
        arguments: vec!["--log-file-bytes".into(), "65536".into()],
    }
}

/// A cluster to be struck.
struct Struck {
    cluster: Cluster,
    random: Random,
    /// In all strikes so far.
    acknowledged: i64,
    unknown: i64,
    _folder: TempDir,
}

impl Struck {
    async fn start(store: Store, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(store, seed, folder.path());
        let mut cluster = Cluster::start(&settings).await.unwrap();
        cluster.wait_until_ready(Duration::from_secs(60)).await.unwrap();
        Self { cluster, random: Random::new(seed), acknowledged: 0, unknown: 0, _folder: folder }
    }

    /// Causes a fault with clients beside it, checks that nothing was lost, and gives what they were told.
    async fn strike(&mut self, fault: Fault) -> Told {
        let (stop, working) = clients(&self.cluster);
        sleep(Duration::from_millis(300)).await;
        let struck = self.cluster.strike(fault, &mut self.random).await;
        sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::SeqCst);
        let told = Told(working.join_all().await.into_iter().flatten().collect());
        struck.unwrap();
        self.acknowledged += told.acknowledged();
        self.unknown += told.unknown();
        let counter = counter(&self.cluster).await;
        println!(
            "{fault}: {} answered, {} broken, {} unknown, {} unavailable, the longest {:?}, off {} s, counter {counter}",
            told.acknowledged(),
            told.broken(),
            told.refused("outcome_unknown"),
            told.refused("unavailable"),
            told.longest(),
            told.most_off_s(),
        );
        let possible = self.acknowledged..=self.acknowledged + self.unknown;
        assert!(possible.contains(&counter), "{fault}: {counter} is not in {possible:?}");
        assert!(told.acknowledged() > 0, "{fault}: nothing was answered");
        told
    }

    /// How often the frontends have been started again.
    fn incarnations(&self) -> u64 {
        self.cluster.frontends().iter().map(dragon_nemesis::reach::Frontend::incarnation).sum()
    }
}
