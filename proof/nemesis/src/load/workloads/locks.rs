//! Locks that are taken and waited for, worked under, extended, passed on, given back, left to expire and hung up on.

use super::{Crew, Worker};
use crate::load::client::Told;
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::time::Duration;

/// The locks that clients contend for: `lock/0` and so on.
const LOCKS: usize = 3;

/// A lock that was got, and may be over by now.
struct Held {
    lock: usize,
    handle: u64,
    lease_s: u64,
}

/// Takes locks and works under them until the course ends.
pub async fn locks(crew: Crew) {
    let mut worker = crew.worker();
    let owner = format!("owner-{}", worker.client.number());
    while worker.course.goes_on() {
        let lock = worker.random.below(LOCKS);
        let Some(mut held) = take(&mut worker, &owner, lock).await else { continue };
        for _ in 0..worker.random.below(4) {
            let time = Duration::from_millis(worker.random.within(0..=60));
            worker.course.pause(time).await;
            match work(&mut worker, &held).await {
                true => {}
                false => break,
            }
        }
        if worker.random.chance(35) {
            match pass(&mut worker, &owner, held).await {
                Some(next) => held = next,
                None => continue,
            }
        }
        give_back(&mut worker, &held).await;
    }
}

fn name(lock: usize) -> String {
    format!("lock/{lock}")
}

/// What is written while the lock is held.
fn beside(lock: usize) -> String {
    format!("under/{lock}")
}

fn got(answer: &Value, lock: usize, lease_s: u64) -> Option<Held> {
    Some(Held { lock, handle: answer["Lock"].as_u64()?, lease_s })
}

/// Seconds; short ones more often, for the sake of those that are left to their end.
fn lease(worker: &mut Worker) -> u64 {
    if worker.random.chance(50) { 1 } else { worker.random.within(2..=4) }
}

async fn take(worker: &mut Worker, owner: &str, lock: usize) -> Option<Held> {
    let lease_s = lease(worker);
    let wait_s = if worker.random.chance(35) { 0 } else { worker.random.within(1..=8) };
    let mut body = json!({"LockID": name(lock), "LockDur": lease_s, "LockOwner": owner,
        "KVGet": [{"Key": beside(lock)}]});
    if wait_s > 0 {
        body["LockWait"] = json!(wait_s);
    }
    if worker.random.chance(30) {
        body["Atomic"] = json!([{"Key": format!("grants/{lock}"), "Add": 1}]);
    }
    if wait_s > 0 && worker.random.chance(25) {
        let patience = Duration::from_millis(worker.random.within(5..=400));
        worker.course.beat().await;
        let told = worker.client.ask_for(Endpoint::Db, body, patience).await;
        return got(told.applied()?, lock, lease_s);
    }
    if worker.random.chance(15) {
        body["IdempotencyIDs"] = json!([format!("take-{}", worker.course.unique())]);
        return got(&worker.settle(&body).await?.ok()?, lock, lease_s);
    }
    got(worker.db(body).await.applied()?, lock, lease_s)
}

/// Does something while it holds the lock; whether it may still hold it.
async fn work(worker: &mut Worker, held: &Held) -> bool {
    let (id, handle) = (name(held.lock), held.handle);
    let mut guarded = json!({"LockID": id, "LockDur": 0, "UnlockID": id, "Unlock": handle});
    match worker.random.below(10) {
        0..3 => guarded["KVSet"] = json!([{"Key": beside(held.lock), "Value": worker.unique_value()}]),
        3..5 => guarded["Atomic"] = json!([{"Key": format!("work/{}", held.lock), "Add": 1}]),
        5..6 => guarded["KVGet"] = json!([{"Key": beside(held.lock)}]),
        6..8 => guarded["LockDur"] = json!(worker.random.within(1..=4)),
        // Without asking whether the lock is still held.
        _ => guarded = json!({"KVSet": [{"Key": beside(held.lock), "Value": worker.unique_value()}]}),
    }
    !worker.db(guarded).await.is_refused("not_locked")
}

/// Goes from one lock to the next: what it holds then, if it knows.
async fn pass(worker: &mut Worker, owner: &str, held: Held) -> Option<Held> {
    let next = (held.lock + 1 + worker.random.below(LOCKS - 1)) % LOCKS;
    let (lease_s, wait_s) =
        (lease(worker), if worker.random.chance(60) { 0 } else { worker.random.within(1..=4) });
    let body = json!({"UnlockID": name(held.lock), "Unlock": held.handle, "LockID": name(next),
        "LockDur": lease_s, "LockWait": wait_s, "LockOwner": owner});
    match worker.db(body).await {
        told if told.applied().is_some() => got(told.applied()?, next, lease_s),
        told if told.is_refused("lock_timeout") => Some(held),
        Told::NotApplied => Some(held),
        Told::Answered { .. } | Told::Unknown => None,
    }
}

/// Gives the lock back, alone or with a write, or leaves it to its end.
async fn give_back(worker: &mut Worker, held: &Held) {
    let (id, handle) = (name(held.lock), held.handle);
    let mut body = json!({"UnlockID": id, "Unlock": handle});
    match worker.random.below(100) {
        0..40 => {}
        40..50 => body["Unlock"] = json!(handle.to_string()),
        50..76 => {
            body["KVSet"] = json!([{"Key": beside(held.lock), "Value": worker.unique_value()}]);
            body["Atomic"] = json!([{"Key": format!("work/{}", held.lock), "Add": 1}]);
        }
        // Nobody's handle, first.
        76..86 => {
            let mut wrong = json!({"UnlockID": id, "Unlock": handle - 1});
            if worker.random.chance(60) {
                (wrong["LockID"], wrong["LockDur"]) = (json!(id), json!(worker.random.within(0..=3)));
            }
            worker.db(wrong).await;
        }
        86..90 => return,
        _ => {
            let late = Duration::from_millis(worker.random.within(0..=300));
            worker.course.pause(Duration::from_secs(held.lease_s) + late).await;
            // As one does who has not noticed how late it is.
            work(worker, held).await;
            work(worker, held).await;
        }
    }
    worker.db(body).await;
}
