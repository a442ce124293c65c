//! The end of a run: all trouble has stopped. Watchers that wait already must be told of one more write, and the
//! last reads show what is there.

use crate::world::{Call, World};
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Long enough for everything that was under way to end, and for leases and pauses too.
const SETTLING: Duration = Duration::from_secs(30);
/// How long the last watchers wait for the last writes, in seconds: longer than any grace.
const WATCH_WAIT_S: u64 = 60;

/// Plays the end.
pub async fn run(world: &Arc<World>, seed: u64) {
    tokio::time::sleep(SETTLING).await;
    let mut watchers = Vec::new();
    for account in world.plan.account_names() {
        for number in 0..world.plan.keys {
            let known = read(world, seed, &account, &format!("k{number}")).await;
            for site in 0..world.plan.frontends {
                let body = json!({"ID": format!("k{number}"), "Version": known, "Wait": WATCH_WAIT_S});
                let endpoint = Endpoint::Watch;
                let call = Call { site, account: account.clone(), endpoint, body };
                let own = Arc::clone(world);
                watchers.push(tokio::spawn(async move {
                    let mut caller = own.caller(seed);
                    own.call(&mut caller, &call).await;
                }));
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for account in world.plan.account_names() {
        for number in 0..world.plan.keys {
            let value = world.recorder.new_value();
            ask(
                world,
                seed,
                &account,
                Endpoint::Db,
                json!({"KVSet": [{"Key": format!("k{number}"), "Value": value}]}),
            )
            .await;
        }
    }
    for watcher in watchers {
        // It ends by itself; a panic in it is seen elsewhere.
        watcher.await.unwrap_or_default();
    }
    // The versions of these writes tell how many writes of unknown fate have happened.
    let mark = |text: &str| json!({"KVSet": [{"Key": "last-look", "Value": text}]});
    for account in world.plan.account_names() {
        ask(world, seed, &account, Endpoint::Db, mark("begins")).await;
        for kind in ["KV", "Counters", "Locks"] {
            ask(world, seed, &account, Endpoint::List, json!({"Kind": kind})).await;
        }
        ask(world, seed, &account, Endpoint::Db, mark("ends")).await;
    }
}

async fn ask(
    world: &World,
    seed: u64,
    account: &str,
    endpoint: Endpoint,
    body: Value,
) -> crate::recorder::Fate {
    let mut caller = world.caller(seed);
    let site = caller.random.below(world.plan.frontends as u64) as usize;
    world.call(&mut caller, &Call { site, account: account.to_owned(), endpoint, body }).await
}

/// The version that a key has.
async fn read(world: &World, seed: u64, account: &str, key: &str) -> u64 {
    match ask(world, seed, account, Endpoint::Db, json!({"KVGet": [{"Key": key}]})).await {
        crate::recorder::Fate::Answered(200, answer) => {
            answer["KV"][0]["Version"].as_u64().unwrap_or_default()
        }
        _ => 0,
    }
}
