//! Seeds that are clean, the same seed again, and mistakes that are found.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

use dragon_simulation::{Bug, judge, run};
use std::process::Command;

/// Seeds within which each mistake is found.
const SEEDS: u64 = 40;

fn assert_clean(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let judged = judge(seed, None);
        assert!(judged.is_clean(), "seed {seed}: {:#?}", judged.problems);
    }
}

/// These take no long search; such seeds are for the long run.
#[test]
fn what_is_built_as_it_is_keeps_the_contract() {
    assert_clean(150..310);
}

#[test]
fn a_seed_plays_the_same_again() {
    for seed in 0..30 {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.history, second.history, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
}

/// Maps with a seed of their own per process would make a difference here.
#[test]
fn a_seed_plays_the_same_in_another_process() {
    let digest = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dragon-simulation"));
        let output = command.args(["--first", "1000", "--seeds", "40"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find_map(|line| line.split_once("digest ")).unwrap().1.to_owned()
    };
    let total = dragon_simulation::play(dragon_simulation::Seeds {
        first: 1_000,
        count: Some(40),
        time: None,
        threads: 1,
        bug: None,
    });
    assert_eq!(digest(), format!("{:016x}", total.digest));
    assert_eq!(digest(), digest());
}

fn assert_found(bug: Bug) {
    let found = (0..SEEDS).find(|seed| !judge(*seed, Some(bug)).is_clean());
    let Some(seed) = found else { panic!("{bug:?} is not found within {SEEDS} seeds") };
    println!("{bug:?} is found by seed {seed}");
    // The same seeds are clean without it.
    assert_clean(0..seed + 1);
}

#[test]
fn a_lost_wake_up_is_found() {
    assert_found(Bug::LostWakeup);
}

#[test]
fn an_answer_before_the_sync_is_found() {
    assert_found(Bug::AnswerBeforeSync);
}

#[test]
fn a_lock_that_is_taken_on_stale_rows_is_found() {
    assert_found(Bug::LockOnStaleRead);
}

#[test]
fn an_idempotency_id_that_is_kept_alone_is_found() {
    assert_found(Bug::IdempotencyWithoutWrites);
}

#[test]
fn a_blind_retry_is_found() {
    assert_found(Bug::BlindRetry);
}
