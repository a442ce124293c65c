//! Waiters that queue up for a lock one after another, each seen in the queue before the next one comes: so it is
//! known who comes first.

use crate::recorder::Fate;
use crate::wire;
use crate::world::{Call, Caller, World};
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The lock that only these take.
const LOCK: &str = "queue";
/// How often the queue is looked at until the next one comes anyway.
const LOOKS_MAX: usize = 20;

/// Takes the lock, has others queue up for it, and gives it back; twice.
pub async fn run(world: Arc<World>, seed: u64) {
    let mut caller = world.caller(seed);
    let account = caller.random.pick(&world.plan.account_names()).clone();
    for _ in 0..2 {
        let site = caller.random.below(world.plan.frontends as u64) as usize;
        let mut call = Call { site, account: account.clone(), endpoint: Endpoint::Db, body: Value::Null };
        call.body = json!({"LockID": LOCK, "LockDur": caller.random.between(3, 20), "LockWait": 10});
        let Fate::Answered(200, granted) = world.call(&mut caller, &call).await else { continue };
        let mut waiters = Vec::new();
        // Once one was not seen to arrive, a longer queue may be that one's arrival.
        let mut are_seen = true;
        for _ in 0..world.plan.queuers {
            let (waiter, is_seen) = enter(&world, seed, &call, are_seen).await;
            are_seen &= is_seen;
            waiters.push(waiter);
        }
        call.body = json!({"UnlockID": LOCK, "Unlock": granted["Lock"]});
        world.call(&mut caller, &call).await;
        for waiter in waiters {
            // It ends by itself; a panic in it is seen elsewhere.
            waiter.await.unwrap_or_default();
        }
    }
}

/// Has one more waiter come, and waits until it is seen in the queue, if that can be seen. Whether it was.
async fn enter(
    world: &Arc<World>,
    seed: u64,
    first: &Call,
    is_to_be_seen: bool,
) -> (tokio::task::JoinHandle<()>, bool) {
    let before = waiting(world, first).await.filter(|_| is_to_be_seen);
    let mut caller = world.caller(seed);
    let (lease, wait) = (caller.random.between(1, 5), caller.random.between(3, 10));
    let body = json!({"LockID": LOCK, "LockDur": lease, "LockWait": wait});
    let call = Call { body, ..first.clone() };
    let connection = world.sites[call.site].connect();
    let entry = world.begin(&caller, &call);
    let own = Arc::clone(world);
    let waiter_call = call.clone();
    let waiter = tokio::spawn(async move {
        let fate = own.end(&mut caller, &waiter_call, entry, connection).await;
        leave(&own, &mut caller, waiter_call, &fate).await;
    });
    let Some(before) = before else { return (waiter, false) };
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if waiter.is_finished() {
            break;
        }
        // Nobody else comes meanwhile, so one more than before is the new one.
        if waiting(world, &call).await.is_some_and(|waiting| waiting > before) {
            world.recorder.note_queued(entry);
            return (waiter, true);
        }
    }
    (waiter, false)
}

/// Holds the lock for a while, then gives it back, or not.
async fn leave(world: &World, caller: &mut Caller, mut call: Call, fate: &Fate) {
    if let Fate::Answered(200, granted) = fate {
        let hold = caller.random.time(1_000);
        tokio::time::sleep(hold).await;
        if !caller.random.happens(200) {
            call.body = json!({"UnlockID": LOCK, "Unlock": granted["Lock"]});
            world.call(caller, &call).await;
        }
    }
}

/// How many wait for the lock at this frontend; `None` where it can't be told.
async fn waiting(world: &World, call: &Call) -> Option<u64> {
    let connection = world.sites[call.site].connect()?;
    let frontend = connection.frontend.clone();
    let query = wire::list_query(&wire::account_of(&call.account), &json!({"Kind": "Locks", "Prefix": LOCK}));
    let (page, waiting) = tokio::select! {
        biased;
        () = connection.broken() => return None,
        listed = frontend.list(&query) => listed.ok()?,
    };
    let at = page.shown.iter().position(|shown| shown.cell.id() == LOCK)?;
    waiting.get(at).map(|waiting| *waiting as u64)
}
