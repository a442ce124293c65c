//! One seed from beginning to end.

use crate::bug::Bug;
use crate::clients::Client;
use crate::plan::Plan;
use crate::store::Counts;
use crate::world::World;
use crate::{calm, nemesis, queue};
use dragon_checker::history::History;
use dragon_core::hash::fnv1a;
use std::cell::Cell;
use std::sync::{Arc, Once};
use std::time::Duration;

/// Simulated time after which a run is taken to hang.
const RUN_MAX: Duration = Duration::from_secs(4 * 3_600);

/// What a seed led to.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What its clients saw.
    pub history: History,
    /// A hash of all that: the same in every process.
    pub digest: u64,
    /// What was done to the store and its frontends, and how often.
    pub counts: Counts,
    /// Panics in any task.
    pub panics: usize,
    /// Whether it came to its end within the simulated time that a run may take.
    pub has_ended: bool,
}

thread_local! {
    /// Panics of this thread: a runtime keeps those of its tasks to itself.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

/// Plays a seed, with a mistake in the store if one is given.
///
/// # Panics
/// When the system gives no runtime.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>) -> Run {
    count_panics();
    let panics_before = PANICS.get();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime =
        builder.enable_time().start_paused(true).build().expect("a runtime without I/O is always to be had");
    let (history, counts, has_ended) = runtime.block_on(play(seed, bug));
    drop(runtime);
    let mut json = Vec::new();
    history.write(&mut json).expect("memory takes all that is written");
    let panics = PANICS.get() - panics_before;
    Run { seed, history, digest: fnv1a(&json), counts, panics, has_ended }
}

async fn play(seed: u64, bug: Option<Bug>) -> (History, Counts, bool) {
    let world = World::new(Plan::new(seed, bug), seed);
    let has_ended = tokio::time::timeout(RUN_MAX, play_in(&world, seed)).await.is_ok();
    let ended_us = world.recorder.now_us();
    let (operations, disturbances) = world.recorder.take();
    let history = History { clock: world.clock.bounds(), disturbances, operations, ended_us };
    (history, world.store.counts(), has_ended)
}

async fn play_in(world: &Arc<World>, seed: u64) {
    let begun_us = world.recorder.now_us();
    let mut tasks = Vec::new();
    for _ in 0..world.plan.clients {
        tasks.push(tokio::spawn(Client::new(world, seed).run()));
    }
    if world.plan.queuers > 0 {
        tasks.push(tokio::spawn(queue::run(Arc::clone(world), seed)));
    }
    let nemesis = tokio::spawn(nemesis::run(Arc::clone(world), seed));
    let supervisor = tokio::spawn(nemesis::supervise(Arc::clone(world), seed));
    for task in tasks {
        // A panic in it is counted.
        task.await.unwrap_or_default();
    }
    world.calm();
    nemesis.await.unwrap_or_default();
    if world.plan.is_troubled() {
        world.recorder.disturb("errors", begun_us);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    supervisor.abort();
    for site in &world.sites {
        site.start();
    }
    calm::run(world, seed).await;
}
