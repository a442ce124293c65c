//! Every store under every fault that it can have.

use super::run::Plan;
use crate::cluster::{Settings, Store};
use crate::faults::Fault;
use std::path::Path;
use std::time::Duration;

/// What is run on one store, and which part of the time it gets.
struct Share {
    store: Store,
    clocks: bool,
    disks: bool,
    parts: u32,
}

const fn share(store: Store, clocks: bool, disks: bool, parts: u32) -> Share {
    Share { store, clocks, disks, parts }
}

const SHARES: [Share; 10] = [
    share(Store::Memory, false, false, 2),
    share(Store::Memory, true, false, 1),
    share(Store::Embedded, false, true, 4),
    share(Store::Embedded, true, false, 1),
    share(Store::Postgres { frontends: 1 }, false, true, 3),
    share(Store::Postgres { frontends: 3 }, false, false, 4),
    share(Store::Postgres { frontends: 3 }, true, false, 1),
    share(Store::FoundationDb { frontends: 1 }, false, false, 2),
    share(Store::FoundationDb { frontends: 3 }, false, false, 3),
    share(Store::FoundationDb { frontends: 3 }, true, false, 1),
];

/// What is done while clocks jump: that, and what has a server look at its clock anew.
const WITH_CLOCKS: [Fault; 4] =
    [Fault::ClockJumps, Fault::FrontendPaused, Fault::FrontendKilled, Fault::FrontendRestarted];

/// Further arguments of the server: the embedded store moves its log into its database all the time, or else it hardly would.
#[must_use]
pub fn arguments(store: Store) -> Vec<String> {
    match store {
        Store::Embedded => vec!["--log-file-bytes".into(), "65536".into()],
        Store::Memory | Store::Postgres { .. } | Store::FoundationDb { .. } => Vec::new(),
    }
}

/// The campaigns on these stores, which take about this long together.
#[must_use]
pub fn matrix(stores: &[Store], program: &Path, folder: &Path, seed: u64, duration: Duration) -> Vec<Plan> {
    let shares: Vec<&Share> = SHARES.iter().filter(|share| stores.contains(&share.store)).collect();
    let parts: u32 = shares.iter().map(|share| share.parts).sum();
    let plan = |(number, share): (usize, &&Share)| {
        let &Share { store, clocks, disks, parts: own } = *share;
        let name =
            format!("{store}{}{}", if disks { ", disks" } else { "" }, if clocks { ", clocks" } else { "" });
        let settings = Settings {
            program: program.to_owned(),
            store,
            folder: folder.join(format!("{seed}-{number}")),
            seed: seed.wrapping_add(number as u64),
            clocks,
            disks,
            arguments: arguments(store),
        };
        let mut faults = settings.supported();
        if clocks {
            // What else can be done comes without turned clocks.
            faults.retain(|fault| WITH_CLOCKS.contains(fault));
        }
        Plan { name, settings, faults, duration: duration * own / parts.max(1), until_problem: false }
    };
    shares.iter().enumerate().map(plan).collect()
}
