//! On FoundationDB, where there is an `fdbserver` and the program was built with this store.

use crate::{Struck, settings};
use dragon_nemesis::cluster::{Cluster, Store};
use dragon_nemesis::faults::Fault;
use std::time::Duration;

const STORE: Store = Store::FoundationDb { frontends: 2 };

/// Whether it can be tested. Says so where it can't.
async fn is_available() -> bool {
    if !dragon_private_foundationdb::is_available() {
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    match Cluster::start(&settings(STORE, 0, folder.path())).await {
        Ok(_) => true,
        Err(error) if format!("{error:#}").contains("built without FoundationDB") => {
            eprintln!("skipped: the program was built without FoundationDB");
            false
        }
        Err(error) => panic!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frontends_and_store() {
    if !is_available().await {
        return;
    }
    let mut struck = Struck::start(STORE, 8).await;
    for fault in [Fault::FrontendKilled, Fault::FrontendRestarted, Fault::ClientsCut] {
        struck.strike(fault).await;
    }
    assert!(struck.strike(Fault::ClockJumps).await.most_off_s() >= 30);
    for fault in [Fault::StoreCut, Fault::StoreAnswersLost, Fault::StoreHalfOpen, Fault::StoreCrashed] {
        let before = struck.cluster.store_connections();
        struck.strike(fault).await;
        assert!(struck.cluster.store_connections() > before, "{fault} has cut nothing");
    }
    for (fault, least_ms) in [(Fault::StorePaused, 290), (Fault::StoreDelayed, 15)] {
        assert!(struck.strike(fault).await.longest() >= Duration::from_millis(least_ms), "{fault}");
    }
}
