//! Clients that work through faults, each keeping account of what it was told.

use crate::client::{Client, Fate};
use crate::cluster::Addresses;
use crate::exclusion::Witness;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub const PATH: &str = "/db/load";
const WATCH: &str = "/watch/load";
/// The value that only the holder of the lock writes.
pub const GUARDED: &str = "guarded";
/// What a writer sets its key to when all is over.
pub const LAST: u64 = u64::MAX >> 1;

/// Shared by all clients of one load.
#[derive(Debug, Default)]
pub struct Course {
    stop: AtomicBool,
    /// Requests that were answered with success, of all clients.
    answered: AtomicU64,
}

impl Course {
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn note(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

/// Increments without an id.
#[derive(Debug, Default)]
pub struct Counted {
    pub acknowledged: i64,
    pub unknown: i64,
    /// The counter's values that it was told.
    pub values: Vec<i64>,
}

/// Adds to `plain`; what is of unknown fate stays so.
pub async fn count_plainly(mut client: Client, course: Arc<Course>) -> Counted {
    let body = json!({"Atomic": [{"Key": "plain", "Add": 1}]}).to_string();
    let mut counted = Counted::default();
    while course.goes_on() {
        match client.send(PATH, &body).await {
            Fate::Answered(answer) => {
                counted.acknowledged += 1;
                counted.values.push(answer.ok()["Atomic"][0]["Value"].as_i64().unwrap());
                course.note();
            }
            Fate::NotApplied => tokio::time::sleep(Duration::from_millis(20)).await,
            Fate::Unknown => counted.unknown += 1,
        }
    }
    counted
}

/// Adds to `exact` with ids, each until its fate is known. Gives the values that it was told.
pub async fn count_exactly(mut client: Client, course: Arc<Course>, name: usize) -> Vec<i64> {
    let mut values = Vec::new();
    while course.goes_on() {
        let id = format!("exact-{name}-{}", values.len());
        let body = json!({"IdempotencyIDs": [id], "Atomic": [{"Key": "exact", "Add": 1}]}).to_string();
        let result = client.settle(PATH, &body).await.unwrap_or_else(|refusal| panic!("{refusal}"));
        values.push(result["Atomic"][0]["Value"].as_i64().unwrap());
        course.note();
    }
    values
}

/// Writes of one key, by one writer.
#[derive(Debug, Default)]
pub struct Written {
    pub key: String,
    /// The last number whose write was answered, and its version.
    pub last: (u64, u64),
    /// Numbers written since whose fate is unknown.
    pub unknown: Vec<u64>,
}

/// Writes rising numbers to its key.
pub async fn write(mut client: Client, course: Arc<Course>, key: String) -> Written {
    let mut written = Written { key, ..Written::default() };
    for number in 1.. {
        if !course.goes_on() {
            break;
        }
        let body = json!({"KVSet": [{"Key": written.key, "Value": number}]}).to_string();
        match client.send(PATH, &body).await {
            Fate::Answered(answer) => {
                let version = answer.number("Version");
                assert!(version > written.last.1, "{version} came after {:?}", written.last);
                written.last = (number, version);
                written.unknown.clear();
                course.note();
            }
            Fate::NotApplied => tokio::time::sleep(Duration::from_millis(20)).await,
            Fate::Unknown => written.unknown.push(number),
        }
        // A breath, so that watchers sleep in between.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    written
}

/// Follows a key until it shows the last number. Its waits are as long as may be, so that no end of a
/// wait hides a change that it slept over.
pub async fn watch(mut client: Client, key: String) -> u64 {
    let (mut version, mut number, mut changes) = (0, 0, 0);
    while number != LAST {
        let body = json!({"ID": key, "Version": version, "Wait": 300}).to_string();
        let answer = client.ask(WATCH, &body).await;
        let shown: Value = answer.ok();
        let (shown_version, shown_number) =
            (shown["Version"].as_u64().unwrap(), shown["Value"].as_u64().unwrap());
        assert!(shown_version > version && shown_number > number, "{key} went back: {number}, {shown}");
        (version, number) = (shown_version, shown_number);
        changes += 1;
    }
    changes
}

/// Takes the lock and gives it back, with ids, so that it always knows whether it holds it.
pub async fn take_turns(mut client: Client, course: Arc<Course>, name: usize, witness: Arc<Witness>) {
    for turn in 0.. {
        if !course.goes_on() {
            break;
        }
        let take = json!({"IdempotencyIDs": [format!("take-{name}-{turn}")], "LockID": "l", "LockDur": 3600,
            "LockWait": 5, "LockOwner": format!("{name}"), "KVGet": [{"Key": GUARDED}]});
        let granted = match client.settle(PATH, &take.to_string()).await {
            Ok(granted) => granted,
            Err(refusal) if refusal["Code"] == "lock_timeout" => continue,
            Err(refusal) => panic!("{refusal}"),
        };
        let handle = granted["Lock"].as_u64().unwrap();
        witness.enter(handle);
        tokio::time::sleep(Duration::from_millis(2)).await;
        witness.leave();
        // What two holders at once would both have read, and one of them lost.
        let seen = granted["KV"][0]["Value"].as_u64().unwrap_or_default();
        let give = json!({"IdempotencyIDs": [format!("give-{name}-{turn}")], "UnlockID": "l", "Unlock": handle,
            "KVSet": [{"Key": GUARDED, "Value": seen + 1}]});
        client.settle(PATH, &give.to_string()).await.unwrap_or_else(|refusal| panic!("{refusal}"));
        course.note();
    }
}

/// A client for each of a kind, spread over the frontends.
pub fn clients(addresses: &Addresses, count: usize) -> impl Iterator<Item = (usize, Client)> {
    (0..count).map(move |at| (at, Client::new(addresses.clone(), at)))
}
