//! On the embedded store, and in memory.

use crate::Struck;
use dragon_nemesis::cluster::Store;
use dragon_nemesis::disk::Counts;
use dragon_nemesis::faults::Fault;
use std::process::Command;
use std::time::Duration;

fn disk(struck: &Struck) -> Counts {
    struck.cluster.disk_counts().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_and_clocks() {
    let mut struck = Struck::start(Store::Embedded, 1).await;
    for fault in [Fault::FrontendKilled, Fault::FrontendRestarted] {
        let before = (struck.cluster.frontend_pid(0), struck.incarnations());
        let told = struck.strike(fault).await;
        assert_ne!(struck.cluster.frontend_pid(0), before.0);
        assert_eq!(struck.incarnations(), before.1 + 1);
        assert!(told.broken() + told.refused("unavailable") > 0, "{fault} was not noticed");
    }
    let told = struck.strike(Fault::FrontendPaused).await;
    assert!(told.longest() >= Duration::from_millis(290), "it did not stand still");
    let told = struck.strike(Fault::ClockJumps).await;
    assert!(told.most_off_s() >= 2, "the clock did not jump");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_clients() {
    let mut struck = Struck::start(Store::Embedded, 2).await;
    assert!(struck.strike(Fault::ClientsCut).await.broken() > 0);
    assert!(struck.strike(Fault::AnswersLost).await.broken() > 0);
    let told = struck.strike(Fault::AnswersDelayed).await;
    assert!(told.longest() >= Duration::from_millis(45), "nothing was delayed");
    let told = struck.strike(Fault::ClientsHalfOpen).await;
    assert!(told.broken() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk() {
    let mut struck = Struck::start(Store::Embedded, 3).await;
    // More than once, since it is started again in several ways.
    for fault in [Fault::DiskFull, Fault::FsyncFails, Fault::DiskFull] {
        let told = struck.strike(fault).await;
        // A write that was under way is of unknown outcome; where the next file of the log could not be begun, there is none.
        assert!(told.refused("unavailable") > 0, "{fault}");
    }
    let counts = disk(&struck);
    assert!(counts.writes_refused > 0 && counts.syncs_failed > 0, "{counts:?}");
    let told = struck.strike(Fault::DiskSlow).await;
    assert!(disk(&struck).syncs_slowed > 0);
    assert!(told.longest() >= Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_power() {
    let mut struck = Struck::start(Store::Embedded, 4).await;
    // The image of each cut begins from the last one's, or from what a kill left.
    for fault in [Fault::PowerCut, Fault::FrontendKilled, Fault::PowerCut] {
        let told = struck.strike(fault).await;
        assert!(told.broken() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    let mut struck = Struck::start(Store::Memory, 9).await;
    assert!(struck.strike(Fault::ClientsCut).await.broken() > 0);
    // It would have nothing any more.
    let refused = struck.cluster.strike(Fault::FrontendKilled, &mut struck.random).await;
    assert!(refused.unwrap_err().to_string().contains("was not started for this fault"));
}

/// An end that nobody asked for is told, with what the frontend had to say.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_itself() {
    let mut struck = Struck::start(Store::Memory, 10).await;
    struck.cluster.check_alive().unwrap();
    let id = struck.cluster.frontend_pid(0).unwrap();
    let kill = format!("kill -9 {id}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let told = struck.cluster.wait_until_ready(Duration::from_secs(10)).await.unwrap_err();
    let told = format!("{told:#}");
    assert!(told.contains("ended by itself") && told.contains("listening on"), "{told}");
}
