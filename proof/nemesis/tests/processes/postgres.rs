//! On Postgres.

use crate::Struck;
use dragon_nemesis::cluster::Store;
use dragon_nemesis::faults::Fault;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn frontends_and_their_clients() {
    let mut struck = Struck::start(Store::Postgres { frontends: 2 }, 5).await;
    for fault in [Fault::FrontendKilled, Fault::FrontendRestarted] {
        let before = struck.incarnations();
        struck.strike(fault).await;
        assert_eq!(struck.incarnations(), before + 1);
    }
    assert!(struck.strike(Fault::ClockJumps).await.most_off_s() >= 30);
    assert!(struck.strike(Fault::ClientsCut).await.broken() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_store() {
    let mut struck = Struck::start(Store::Postgres { frontends: 2 }, 6).await;
    for fault in
        [Fault::StoreCut, Fault::StoreAnswersLost, Fault::StoreHalfOpen, Fault::ConnectionsTerminated]
    {
        let before = struck.cluster.store_connections();
        struck.strike(fault).await;
        assert!(struck.cluster.store_connections() > before, "{fault} has cut nothing");
    }
    assert!(struck.strike(Fault::StoreDelayed).await.longest() >= Duration::from_millis(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store() {
    let mut struck = Struck::start(Store::Postgres { frontends: 1 }, 7).await;
    let before = struck.cluster.store_connections();
    struck.strike(Fault::StoreCrashed).await;
    assert!(struck.cluster.store_connections() > before);
    assert!(struck.strike(Fault::StorePaused).await.longest() >= Duration::from_millis(290));
    for fault in [Fault::DiskSlow, Fault::DiskFull, Fault::FsyncFails] {
        struck.strike(fault).await;
    }
    let counts = struck.cluster.disk_counts().unwrap().unwrap();
    assert!(counts.syncs_slowed > 0 && counts.writes_refused > 0 && counts.syncs_failed > 0, "{counts:?}");
}
