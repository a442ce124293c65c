//! Properties: long random sequences of requests, decided by the core and by a naive model that was
//! written from the HTTP contract alone. Verdicts, answers and everything stored must agree at every
//! step. Proptest prints a failing case, shrunk, and keeps its seed in a file beside this one.

// Helpers outside of `#[test]` functions: what can't happen may panic here.
#![allow(clippy::unwrap_used)]

#[path = "model/core_side.rs"]
mod core_side;
#[path = "model/naive.rs"]
mod naive;
#[path = "model/plan.rs"]
mod plan;

use core_side::{Core, entry};
use dragon_core::decide::Turn;
use naive::World;
use plan::{Act, Advance, Plan, act};
use proptest::collection::vec;
use proptest::test_runner::{Config, FileFailurePersistence};
use serde_json::Value;

/// A clock that shows milliseconds which are no whole seconds, so that rounding shows.
const START_MS: u64 = 1_700_000_000_345;

fn config(cases: u32) -> Config {
    let seeds = FileFailurePersistence::WithSource("seeds");
    Config { cases, failure_persistence: Some(Box::new(seeds)), ..Config::default() }
}

/// Both sides, and the time.
struct Trial {
    world: World,
    /// Decides whole batches.
    batched: Core,
    /// Decides the same requests one by one.
    single: Core,
    clock_ms: u64,
    /// Bodies that were sent, to be sent again.
    sent: Vec<(usize, Value)>,
    /// How often each kind of outcome came up.
    outcomes: std::collections::BTreeMap<String, usize>,
}

impl Trial {
    fn new() -> Self {
        Self {
            world: World::default(),
            batched: Core::default(),
            single: Core::default(),
            clock_ms: START_MS,
            sent: Vec::new(),
            outcomes: Default::default(),
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Batch(advance, plans) => {
                self.advance(advance);
                self.batch(plans);
            }
            Act::Sweep(advance) => {
                self.advance(advance);
                self.world.sweep(self.clock_ms);
                self.batched.sweep(self.clock_ms);
                self.single.sweep(self.clock_ms);
            }
            Act::Mark(account) => {
                self.world.account(*account).fix_mark(self.clock_ms);
                self.batched.mark(*account, self.clock_ms);
                self.single.mark(*account, self.clock_ms);
            }
        }
        let expected = self.world.stored();
        assert_eq!(self.batched.stored(), expected, "what is stored, decided as batches");
        assert_eq!(self.single.stored(), expected, "what is stored, decided one by one");
    }

    fn advance(&mut self, advance: &Advance) {
        self.clock_ms = match advance {
            Advance::Stay => self.clock_ms,
            Advance::By(ms) => self.clock_ms + ms,
            Advance::Back(ms) => self.clock_ms - ms,
            Advance::ToExpiry { nth, off_ms } => {
                let expiries = self.world.expiries();
                let expiry = expiries.get(nth % expiries.len().max(1)).unwrap_or(&self.clock_ms);
                expiry.saturating_add_signed(*off_ms)
            }
        };
    }

    fn batch(&mut self, plans: &[Plan]) {
        let mut entries = Vec::new();
        let mut expected = Vec::new();
        for plan in plans {
            let (account, body) = plan.resolve(&mut self.world, &self.sent, self.clock_ms);
            let outcome = self.world.account(account).outcome(&body, plan.queued, self.clock_ms);
            let turn = if plan.queued { Turn::Queued } else { Turn::First };
            entries.push(entry(account, &body, turn));
            *self.outcomes.entry(naive::kind_of(&body, &outcome)).or_default() += 1;
            expected.push(outcome);
            self.sent.push((account, body));
        }
        let batched = self.batched.decide(&entries, self.clock_ms);
        let single: Vec<Value> =
            entries.iter().flat_map(|entry| self.single.decide_one(entry, self.clock_ms)).collect();
        let bodies = &self.sent[self.sent.len() - plans.len()..];
        assert_eq!(batched, expected, "the verdicts of a batch; bodies: {bodies:#?}");
        assert_eq!(single, expected, "the verdicts one by one; bodies: {bodies:#?}");
    }
}

proptest::proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn core_and_model_agree(acts in vec(act(), 1..80)) {
        let mut trial = Trial::new();
        acts.iter().for_each(|act| trial.act(act));
    }
}

/// The sequences are of use only as long as every kind of outcome is frequent in them.
#[test]
fn random_sequences_reach_every_outcome() {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut outcomes = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let mut trial = Trial::new();
        let acts = vec(act(), 80).new_tree(&mut runner).unwrap().current();
        acts.iter().for_each(|act| trial.act(act));
        for (kind, count) in trial.outcomes {
            *outcomes.entry(kind).or_insert(0) += count;
        }
    }
    for kind in naive::KINDS {
        let count = outcomes.get(kind).copied().unwrap_or(0);
        assert!(count >= 20, "only {count} of {kind:?} in {outcomes:#?}");
    }
}
