//! What must work when all is whole again: whoever waits is woken, at every frontend, whatever was lost before.

use super::client::{Client, Clients};
use super::recorder::Recorder;
use crate::random::Random;
use crate::reach::Frontend;
use dragon_checker::history::Endpoint;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

/// Keys that are watched.
const KEYS: usize = 3;
/// How often each of them is changed under its watchers' eyes.
const CHANGES: usize = 2;
/// How long they would wait, in seconds: far longer than a wake-up takes.
const WAIT_S: u64 = 30;
/// A lease that does not end meanwhile, in seconds.
const LEASE_S: u64 = 120;
/// For those who wait to have begun to.
const BEFORE_CHANGE: Duration = Duration::from_millis(200);

/// Has each frontend watch keys that are then changed once and again, and wait for a lock that is then given back; and asks
/// with the old versions once more, which must be answered at once. What they are told is for the checker to judge.
pub async fn wake_all(frontends: &[Frontend], account: &str, recorder: &Recorder, seed: u64) {
    let clients = Clients::new(frontends.to_vec(), account.to_owned(), recorder.clone(), seed);
    let mut random = Random::new(seed);
    let mut client = clients.wandering();
    let mut watchers = JoinSet::new();
    let mut known = Vec::new();
    for key in keys() {
        let told = client.ask(Endpoint::Db, json!({"KVSet": [{"Key": key, "Value": "calm"}]})).await;
        let version = told.applied().and_then(|answer| answer["Version"].as_u64()).unwrap_or_default();
        known.extend((0..frontends.len()).map(|at| (at, key.clone(), version)));
    }
    for (at, key, version) in known.clone() {
        watchers.spawn(watch(clients.staying(at), key, version, CHANGES));
    }
    let lock = lock(&clients, random.below(frontends.len()));
    tokio::join!(lock, async {
        for change in 0..CHANGES {
            tokio::time::sleep(BEFORE_CHANGE).await;
            for key in keys() {
                client
                    .ask(Endpoint::Db, json!({"KVSet": [{"Key": key, "Value": format!("calm-{change}")}]}))
                    .await;
            }
        }
        // A panic in one is seen by its missing in the history.
        while watchers.join_next().await.is_some() {}
    });
    let late = known.into_iter().map(|(at, key, version)| watch(clients.staying(at), key, version, 1));
    join_all(late).await;
}

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|number| format!("calm/{number}"))
}

async fn watch(mut client: Client, key: String, mut version: u64, changes: usize) {
    for _ in 0..changes {
        let body = json!({"ID": key, "Version": version, "Wait": WAIT_S});
        let told = client.ask(Endpoint::Watch, body).await;
        let Some(shown) = told.applied().and_then(|answer| answer["Version"].as_u64()) else { return };
        version = shown;
    }
}

/// A lock that is taken at one frontend and waited for at all.
async fn lock(clients: &Clients, at: usize) {
    let mut holder = clients.staying(at);
    let Some(handle) = take(&mut holder).await else { return };
    let mut waiters = JoinSet::new();
    for at in 0..clients.frontends().len() {
        let mut waiter = clients.staying(at);
        waiters.spawn(async move {
            if let Some(handle) = take(&mut waiter).await {
                give_back(&mut waiter, handle).await;
            }
        });
    }
    tokio::time::sleep(BEFORE_CHANGE).await;
    give_back(&mut holder, handle).await;
    while waiters.join_next().await.is_some() {}
}

async fn take(client: &mut Client) -> Option<u64> {
    let body = json!({"LockID": "calm", "LockDur": LEASE_S, "LockWait": WAIT_S});
    client.ask(Endpoint::Db, body).await.applied()?["Lock"].as_u64()
}

async fn give_back(client: &mut Client, handle: u64) {
    client.ask(Endpoint::Db, json!({"UnlockID": "calm", "Unlock": handle})).await;
}
