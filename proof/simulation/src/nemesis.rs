//! What is done to the whole from time to time: crashes, going down, outages, jumps of the clock, sweeps.

use crate::plan::{Mode, Nemesis};
use crate::random::Random;
use crate::world::World;
use dragon_contract::Backend as _;
use std::sync::Arc;

/// Longest jump of the clock, in milliseconds.
const JUMP_MS_MAX: u64 = 60_000;

/// How often it jumps: with each jump less is known of when something expired.
const JUMPS_MAX: usize = 2;

/// How often it acts at all: each operation whose fate is unknown doubles what could have happened.
const ACTS_MAX: usize = 8;

/// Makes trouble until it is aborted or the world is calm.
pub async fn run(world: Arc<World>, seed: u64) {
    let mut random = Random::new(seed, "nemesis");
    let mut nemeses = world.plan.nemeses.clone();
    let mut jumps = 0;
    for _ in 0..ACTS_MAX {
        tokio::time::sleep(random.time(world.plan.nemesis_ms_max)).await;
        if world.is_calm() || nemeses.is_empty() {
            return;
        }
        let nemesis = *random.pick(&nemeses);
        let begun_us = world.recorder.now_us();
        let what = act(&world, &mut random, nemesis).await;
        world.store.count(what);
        world.recorder.disturb(what, begun_us);
        jumps += usize::from(matches!(nemesis, Nemesis::JumpAhead | Nemesis::JumpBack));
        if jumps == JUMPS_MAX {
            nemeses.retain(|nemesis| !matches!(nemesis, Nemesis::JumpAhead | Nemesis::JumpBack));
        }
    }
}

async fn act(world: &World, random: &mut Random, nemesis: Nemesis) -> &'static str {
    let site = random.pick(&world.sites);
    match nemesis {
        Nemesis::Crash => {
            site.kill();
            tokio::time::sleep(random.time(1_000)).await;
            site.start();
            "crashes"
        }
        Nemesis::Drain => {
            site.drain();
            tokio::time::sleep(random.time(3_000)).await;
            site.kill();
            site.start();
            "drains"
        }
        Nemesis::Outage => {
            if world.plan.mode == Mode::Embedded {
                return "outages spared";
            }
            world.store.set_down(true);
            tokio::time::sleep(random.time(2_000)).await;
            world.store.set_down(false);
            "outages"
        }
        Nemesis::JumpAhead => {
            world.clock.jump(jump_ms(random));
            "jumps ahead"
        }
        Nemesis::JumpBack => {
            world.clock.jump(-jump_ms(random));
            "jumps back"
        }
        Nemesis::Sweep => {
            if let Some(handle) = site.handle() {
                // What was not deleted is found the next time.
                handle.sweep(1_000).await.unwrap_or_default();
            }
            "sweeps"
        }
    }
}

/// Short ones are about as long as a lease.
fn jump_ms(random: &mut Random) -> i64 {
    let ms_max = *random.pick(&[1_000, 4_000, JUMP_MS_MAX]);
    random.between(1, ms_max).cast_signed()
}

/// Starts an embedded store again each time that a failed sync has closed it.
pub async fn supervise(world: Arc<World>, seed: u64) {
    let mut random = Random::new(seed, "supervisor");
    loop {
        world.store.closed().await;
        let begun_us = world.recorder.now_us();
        tokio::time::sleep(random.time(2_000)).await;
        for site in &world.sites {
            site.kill();
            site.start();
        }
        world.recorder.disturb("restart after a failed sync", begun_us);
    }
}
