//! Faults under load. After each round the load must go on; after all of them the sums must be right.

use crate::client::Client;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::exclusion::Witness;
use crate::load::{self, Course, GUARDED, LAST, PATH, Written, clients};
use crate::support::{PATIENCE, eventually};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Clients of each kind.
const EACH: usize = 6;
/// Answers that the load must get between two faults.
const ANSWERS_BETWEEN: u64 = 60;

#[derive(Clone, Copy, Debug)]
enum Fault {
    DatabaseCrashes,
    ConnectionsBreak,
    FrontendIsKilled,
    FrontendIsRestarted,
}

fn rounds() -> usize {
    let given = std::env::var("DRAGON_TEST_FAULT_ROUNDS").ok();
    given.map_or(5, |rounds| rounds.parse().expect("DRAGON_TEST_FAULT_ROUNDS is a number"))
}

async fn strike(cluster: &mut Cluster, fault: Fault, round: usize) {
    match fault {
        Fault::DatabaseCrashes => cluster.crash_database().await,
        Fault::ConnectionsBreak => cluster.database.break_connections(round).await,
        Fault::FrontendIsKilled => {
            let frontend = round % cluster.frontends.len();
            tokio::task::block_in_place(|| cluster.kill_and_start_again(frontend));
        }
        Fault::FrontendIsRestarted => {
            let frontend = round % cluster.frontends.len();
            tokio::task::block_in_place(|| cluster.restart(frontend));
        }
    }
}

async fn survive(frontends: usize, fault: Fault) {
    let database = Database::start(matches!(fault, Fault::ConnectionsBreak));
    let mut cluster = Cluster::start_on(database, frontends);
    let addresses = cluster.addresses();
    let (course, witness) = (Arc::new(Course::default()), Arc::new(Witness::default()));
    let (mut plain, mut exact) = (JoinSet::new(), JoinSet::new());
    let (mut writers, mut watchers, mut turns) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for (at, client) in clients(&addresses, EACH) {
        plain.spawn(load::count_plainly(client, Arc::clone(&course)));
        let client = |further: usize| Client::new(addresses.clone(), at + further);
        exact.spawn(load::count_exactly(client(1), Arc::clone(&course), at));
        writers.spawn(load::write(client(2), Arc::clone(&course), format!("k{at}")));
        turns.spawn(load::take_turns(client(3), Arc::clone(&course), at, Arc::clone(&witness)));
        // Several at each key, of which some are at another frontend than its writer.
        for further in 0..3 {
            watchers.spawn(load::watch(client(further), format!("k{at}")));
        }
    }
    for round in 0..rounds() {
        let before = course.answered();
        eventually("some load", async || (course.answered() >= before + ANSWERS_BETWEEN).then_some(())).await;
        // Each round at another moment of the work.
        tokio::time::sleep(Duration::from_millis(round as u64 * 7 % 40)).await;
        strike(&mut cluster, fault, round).await;
    }
    let before = course.answered();
    eventually("some load", async || (course.answered() >= before + ANSWERS_BETWEEN).then_some(())).await;
    course.stop();
    timeout(PATIENCE, turns.join_all()).await.expect("nobody waits for ever");

    let plain = plain.join_all().await;
    let mut client = Client::new(addresses.clone(), 0);
    let acknowledged: i64 = plain.iter().map(|counted| counted.acknowledged).sum();
    let unknown: i64 = plain.iter().map(|counted| counted.unknown).sum();
    let sum = read_counter(&mut client, "plain").await;
    println!("{fault:?} at {frontends} frontends: {acknowledged} acknowledged, {unknown} unknown, sum {sum}");
    assert!((acknowledged..=acknowledged + unknown).contains(&sum), "{acknowledged} + {unknown}: {sum}");
    // Nothing happens to a request but that it is answered, or refused without having changed anything.
    assert!(unknown == 0 || !matches!(fault, Fault::FrontendIsRestarted), "{unknown} of unknown fate");
    assert_distinct(plain.into_iter().flat_map(|counted| counted.values).collect());

    let exact: Vec<i64> = exact.join_all().await.into_iter().flatten().collect();
    assert_eq!(read_counter(&mut client, "exact").await, exact.len() as i64);
    assert_distinct(exact);

    for written in writers.join_all().await {
        check_written(&mut client, &written).await;
        // Now nobody else writes it: every watcher must come to this one.
        let body = json!({"KVSet": [{"Key": written.key, "Value": LAST}]}).to_string();
        client.ask(PATH, &body).await.ok();
    }
    let changes = timeout(PATIENCE, watchers.join_all()).await.expect("no watcher sleeps over a change");
    println!("{} grants, {} changes seen", witness.grants(), changes.iter().sum::<u64>());
    let body = json!({"KVGet": [{"Key": GUARDED}]}).to_string();
    let guarded = client.ask(PATH, &body).await.ok()["KV"][0]["Value"].as_u64();
    assert_eq!(guarded, Some(witness.grants() as u64), "two held the lock at once");
    assert!(witness.grants() > rounds(), "the load is of use");
}

async fn read_counter(client: &mut Client, key: &str) -> i64 {
    let body = json!({"Atomic": [{"Key": key}]}).to_string();
    client.ask(PATH, &body).await.ok()["Atomic"][0]["Value"].as_i64().unwrap()
}

/// The key has what was last answered, or a later write of unknown fate.
async fn check_written(client: &mut Client, written: &Written) {
    let body = json!({"KVGet": [{"Key": written.key}]}).to_string();
    let shown = client.ask(PATH, &body).await.ok()["KV"][0].take();
    let (number, version) = (shown["Value"].as_u64().unwrap(), shown["Version"].as_u64().unwrap());
    let as_answered = (number, version) == written.last;
    let later = written.unknown.contains(&number) && version > written.last.1;
    assert!(as_answered || later, "{shown} is not what was written: {written:?}");
}

#[track_caller]
fn assert_distinct(mut values: Vec<i64>) {
    let count = values.len();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), count, "a value was given out twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_crashes_under_two_frontends() {
    survive(2, Fault::DatabaseCrashes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_crashes_under_three_frontends() {
    survive(3, Fault::DatabaseCrashes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_two_frontends_break() {
    survive(2, Fault::ConnectionsBreak).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_three_frontends_break() {
    survive(3, Fault::ConnectionsBreak).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_frontends_is_killed() {
    survive(2, Fault::FrontendIsKilled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_frontends_is_killed() {
    survive(3, Fault::FrontendIsKilled).await;
}

/// As in an upgrade: one after the other goes down in order and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn three_frontends_are_restarted_one_by_one() {
    survive(3, Fault::FrontendIsRestarted).await;
}
