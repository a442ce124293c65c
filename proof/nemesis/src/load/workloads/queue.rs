//! A queue whose order is known: each waiter is seen in it before the next one comes. Nobody else uses its lock.

use super::Crew;
use crate::load::client::{Client, Told};
use crate::load::course::Course;
use dragon_checker::history::Endpoint;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The first holder's lease: long enough for a queue to form.
const LEASE_S: u64 = 10;
/// A waiter's lease: what a broken connection costs those behind it.
const WAITER_LEASE_S: u64 = 4;
const WAIT_S: u64 = 20;
/// How often a list is asked for until it shows a new waiter.
const LOOKS: usize = 30;
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How often giving a lock back is tried: those behind would wait for the lease's end.
const GIVE_BACK_TRIES: usize = 5;
/// Between two queues.
const REST: Duration = Duration::from_millis(200);

/// Forms queues at one frontend after another, and lets them pass, until the course ends.
pub async fn queue(mut crew: Crew) {
    while crew.course.goes_on() {
        let at = crew.random.below(crew.clients.frontends().len());
        let (mut holder, lister) = (crew.clients.staying(at), crew.clients.staying(at));
        // A lock of its own each time: whoever is in its queue was put there by this one.
        let lock = format!("queue/{}", crew.course.unique());
        let take = json!({"LockID": lock, "LockDur": LEASE_S, "LockOwner": "first"});
        crew.course.beat().await;
        let told = holder.ask(Endpoint::Db, take).await;
        if let Some(handle) = told.applied().and_then(|answer| answer["Lock"].as_u64()) {
            let mut waiters = JoinSet::new();
            form(&mut crew, lister, &lock, &mut waiters).await;
            give_back(&mut holder, &crew.course, &lock, handle).await;
            while let Some(ended) = waiters.join_next().await {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        crew.course.pause(REST).await;
    }
}

/// Starts waiters one after another, each when those before it have been seen.
async fn form(crew: &mut Crew, mut lister: Client, lock: &str, waiters: &mut JoinSet<()>) {
    let count = crew.random.within(2..=5);
    let mut handles = Vec::new();
    for expected in 1..=count {
        let mut waiter = crew.clients.staying(lister.at());
        let number = waiter.number();
        crew.course.beat().await;
        handles.push(waiters.spawn(wait(waiter, Arc::clone(&crew.course), lock.to_owned(), expected)));
        if !is_seen(crew, &mut lister, lock, number, expected).await {
            return;
        }
    }
    if crew.random.chance(20) {
        // One in the midst hangs up: those behind it move on.
        handles[crew.random.below(handles.len())].abort();
    }
}

/// Whether a list shows so many waiters; then the last of them is noted to be in the queue.
async fn is_seen(crew: &Crew, lister: &mut Client, lock: &str, number: u64, expected: u64) -> bool {
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK_PAUSE).await;
        crew.course.beat().await;
        let body = json!({"Kind": "Locks", "Prefix": lock, "Limit": 1});
        let Told::Answered { status: 200, body: shown, returned_us } = lister.ask(Endpoint::List, body).await
        else {
            continue;
        };
        let shown = &shown["Locks"][0];
        if shown["ID"] == lock && shown["Waiting"] == expected {
            let incarnation = crew.clients.frontends()[lister.at()].incarnation();
            return crew.clients.recorder().queued(number, returned_us, incarnation);
        }
    }
    false
}

/// Waits its turn, and gives the lock to the next at once.
async fn wait(mut client: Client, course: Arc<Course>, lock: String, place: u64) {
    let take = json!({"LockID": lock, "LockDur": WAITER_LEASE_S, "LockWait": WAIT_S,
        "LockOwner": format!("place-{place}")});
    let told = client.ask(Endpoint::Db, take).await;
    let Some(handle) = told.applied().and_then(|answer| answer["Lock"].as_u64()) else { return };
    give_back(&mut client, &course, &lock, handle).await;
}

async fn give_back(client: &mut Client, course: &Course, lock: &str, handle: u64) {
    for _ in 0..GIVE_BACK_TRIES {
        course.beat().await;
        if client.ask(Endpoint::Db, json!({"UnlockID": lock, "Unlock": handle})).await.is_answered() {
            return;
        }
    }
}
