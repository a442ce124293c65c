//! A frontend that is stopped in the middle of its work: the others go on.

use crate::cluster::Cluster;
use crate::support::Account;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const FRONTENDS: usize = 3;
const CLIENTS_EACH: usize = 4;
/// How often, each at another moment of its work.
const STALLS: u64 = 2;
/// Longer than any delay that is allowed: who waits for the end of the stall fails.
const STALL: Duration = Duration::from_secs(8);
const BETWEEN: Duration = Duration::from_secs(2);
/// Generous: tests assert no speed. What is seen is printed.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Writes to keys that all clients of all frontends share, until told to stop. Gives the longest time that
/// an answer took.
async fn write(account: Account, stop: Arc<AtomicBool>) -> Duration {
    let mut longest = Duration::ZERO;
    for number in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("k{}", number % 5);
        let body = json!({"Atomic": [{"Key": "n", "Add": 1}], "KVSet": [{"Key": key, "Value": number}]});
        let begun = Instant::now();
        // One that is turned away is sent again, and has been delayed all the same.
        while account.db(body.to_string()).await.status == 503 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_that_stands_still_delays_the_others_little() {
    let cluster = Cluster::start(FRONTENDS);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut stalled, mut others) = (JoinSet::new(), JoinSet::new());
    for frontend in 0..FRONTENDS {
        for _ in 0..CLIENTS_EACH {
            let account = cluster.account_at(frontend, "a");
            let clients = if frontend == 0 { &mut stalled } else { &mut others };
            clients.spawn(write(account, Arc::clone(&stop)));
        }
    }
    let account = cluster.account_at(1, "a");
    for stall in 0..STALLS {
        tokio::time::sleep(BETWEEN + Duration::from_micros(stall * 3_700)).await;
        cluster.frontends[0].signal("STOP");
        let before = account.count("n", 0).await;
        tokio::time::sleep(STALL).await;
        assert!(account.count("n", 0).await > before, "the others did nothing");
        cluster.frontends[0].signal("CONT");
    }
    tokio::time::sleep(BETWEEN).await;
    stop.store(true, Ordering::SeqCst);
    let longest = others.join_all().await.into_iter().max().unwrap();
    println!("the longest delay at the other frontends: {longest:?} (of stalls of {STALL:?})");
    // The one that stood still works again.
    stalled.join_all().await;
    assert!(longest < DELAY_MAX, "{longest:?}");
}
