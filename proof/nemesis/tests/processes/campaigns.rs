//! Short campaigns with all that belongs to them. The long ones are `proof/run.sh`.

use crate::settings;
use dragon_nemesis::campaign::{Plan, run};
use dragon_nemesis::cluster::{Settings, Store};
use dragon_nemesis::faults::Fault;
use std::time::Duration;

/// One round, which says on failure where its history is.
async fn campaign(store: Store, seed: u64, faults: &[Fault]) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { clocks: false, ..settings(store, seed, folder.path()) };
    let (name, faults, duration) = (store.to_string(), faults.to_vec(), Duration::from_secs(1));
    let tally = run(&Plan { name, settings, faults, duration, until_problem: true }).await.unwrap();
    if !tally.problems.is_empty() {
        panic!("{:#?}; it is all in {}", tally.problems, folder.keep().display());
    }
    assert!(tally.rounds == 1 && tally.totals.all() > 0 && tally.looked_at.woken_watches > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_loses_nothing() {
    campaign(Store::Embedded, 21, &[Fault::FrontendKilled, Fault::PowerCut, Fault::AnswersLost]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_frontends_on_postgres_agree() {
    let faults = [Fault::FrontendKilled, Fault::StoreAnswersLost, Fault::StoreCrashed];
    campaign(Store::Postgres { frontends: 3 }, 22, &faults).await;
}
