//! Random requests. A plan says "the right handle" or "one off"; it becomes a body once the state
//! is known in which it is sent. There are few names, so that requests meet one another.

use crate::naive::{Partition, World};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Value, json};

pub const ACCOUNTS: usize = 2;
const KEYS: [&str; 4] = ["a", "a/b", "b", "é"];
const LOCKS: [&str; 2] = ["left", "right"];
const IDS: [&str; 4] = ["i", "j", "k", "a"];
const OWNERS: [&str; 3] = ["", "worker-7", "ö\"\\"];

/// One step of a sequence.
#[derive(Clone, Debug)]
pub enum Act {
    Batch(Advance, Vec<Plan>),
    Sweep(Advance),
    Mark(usize),
}

/// What the clock does before a step.
#[derive(Clone, Debug)]
pub enum Advance {
    Stay,
    By(u64),
    Back(u64),
    /// Goes to the moment at which something ends, which may have passed, or one beside it.
    ToExpiry {
        nth: usize,
        off_ms: i64,
    },
}

/// What is given as a handle, a version or a counter's value.
#[derive(Clone, Debug)]
pub enum Guess {
    Right,
    Off(i64),
}

#[derive(Clone, Debug)]
pub struct Plan {
    account: usize,
    pub queued: bool,
    /// Send the body again that was sent so many requests ago, to the same account.
    again: Option<usize>,
    ids: Vec<&'static str>,
    ids_ttl_s: Option<u64>,
    unlock: Option<(&'static str, Guess)>,
    lock: Option<(&'static str, u64, Option<&'static str>)>,
    atomic: Vec<AtomicPlan>,
    sets: Vec<SetPlan>,
    gets: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct AtomicPlan {
    key: &'static str,
    change: Option<(&'static str, i64)>,
    if_eq: Option<Guess>,
}

#[derive(Clone, Debug)]
struct SetPlan {
    key: &'static str,
    value: Option<i64>,
    ttl_s: Option<u64>,
    if_version: Option<Guess>,
}

impl Guess {
    fn near(&self, right: u64) -> u64 {
        match self {
            Self::Right => right,
            Self::Off(off) => right.saturating_add_signed(*off),
        }
    }
}

impl Plan {
    /// The account, and the body as the contract writes it.
    pub fn resolve(&self, world: &mut World, sent: &[(usize, Value)], clock_ms: u64) -> (usize, Value) {
        if let Some(again) = self.again
            && let Some((account, body)) = sent.iter().rev().nth(again)
        {
            return (*account, body.clone());
        }
        let partition = world.account(self.account);
        let mut body = json!({});
        if !self.ids.is_empty() {
            body["IdempotencyIDs"] = json!(self.ids);
            self.ids_ttl_s.inspect(|ttl_s| body["IdempotencyTTL"] = json!(ttl_s));
        }
        self.resolve_lock(partition, clock_ms, &mut body);
        if !self.atomic.is_empty() {
            body["Atomic"] = self.atomic.iter().map(|atomic| atomic.resolve(partition)).collect();
        }
        if !self.sets.is_empty() {
            let sets = self.sets.iter().enumerate();
            let sets = sets.filter(|(at, set)| self.sets[..*at].iter().all(|other| other.key != set.key));
            body["KVSet"] = sets.map(|(_, set)| set.resolve(partition, clock_ms)).collect();
        }
        if !self.gets.is_empty() || body == json!({}) {
            let gets = if self.gets.is_empty() { &KEYS[..1] } else { &self.gets };
            body["KVGet"] = gets.iter().map(|key| json!({"Key": key})).collect();
        }
        (self.account, body)
    }

    fn resolve_lock(&self, partition: &Partition, clock_ms: u64, body: &mut Value) {
        if let Some((id, guess)) = &self.unlock {
            // Most leases are over by now; a right guess looks for one that is not.
            let live = LOCKS.iter().find(|id| partition.is_held(id, clock_ms));
            let id = if matches!(guess, Guess::Right) { live.unwrap_or(id) } else { id };
            let handle = partition.locks.get(*id).map_or(0, |lease| lease.handle);
            body["UnlockID"] = json!(id);
            body["Unlock"] = json!(guess.near(handle));
        }
        if let Some((id, dur_s, owner)) = self.lock {
            body["LockID"] = json!(id);
            // Only an extend may have no duration.
            let dur_s_min = u64::from(body["UnlockID"] != id);
            body["LockDur"] = json!(dur_s.max(dur_s_min));
            owner.inspect(|owner| body["LockOwner"] = json!(owner));
        }
    }
}

impl AtomicPlan {
    fn resolve(&self, partition: &Partition) -> Value {
        let mut atomic = json!({"Key": self.key});
        match self.change {
            Some(("Delete", _)) => atomic["Delete"] = json!(true),
            Some((field, number)) => atomic[field] = json!(number),
            None => {}
        }
        let number = partition.counters.get(self.key).map_or(0, |counter| counter.number);
        match &self.if_eq {
            Some(Guess::Right) => atomic["IfEq"] = json!(number),
            Some(Guess::Off(off)) => atomic["IfEq"] = json!(number.wrapping_add(*off)),
            None => {}
        }
        atomic
    }
}

impl SetPlan {
    fn resolve(&self, partition: &Partition, clock_ms: u64) -> Value {
        let mut set = json!({"Key": self.key});
        match self.value {
            Some(value) => {
                set["Value"] =
                    [json!(value), json!({"a": [value, null]}), json!(null)][value as usize % 3].clone();
                self.ttl_s.inspect(|ttl_s| set["TTL"] = json!(ttl_s));
            }
            None => set["Delete"] = json!(true),
        }
        if let Some(guess) = &self.if_version {
            set["IfVersion"] = json!(guess.near(partition.version(self.key, clock_ms)));
        }
        set
    }
}

pub fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        30 => (advance(), vec(plan(), 1..6)).prop_map(|(advance, plans)| Act::Batch(advance, plans)),
        2 => advance().prop_map(Act::Sweep),
        1 => (0..ACCOUNTS).prop_map(Act::Mark),
    ]
}

fn advance() -> impl Strategy<Value = Advance> {
    prop_oneof![
        5 => Just(Advance::Stay),
        4 => (1..3_000_u64).prop_map(Advance::By),
        1 => (80_000_000..100_000_000_u64).prop_map(Advance::By),
        1 => (1..5_000_u64).prop_map(Advance::Back),
        6 => (any::<usize>(), -1..=1_i64).prop_map(|(nth, off_ms)| Advance::ToExpiry { nth, off_ms }),
    ]
}

fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![4 => Just(Guess::Right), 1 => prop_oneof![Just(-1_i64), Just(1), Just(7)].prop_map(Guess::Off)]
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&KEYS[..])
}

fn plan() -> impl Strategy<Value = Plan> {
    let ids = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(&IDS[..], 1..=3)];
    let lock_id = || prop::sample::select(&LOCKS[..]);
    let owner = weighted(0.6, prop::sample::select(&OWNERS[..]));
    let locks = (weighted(0.3, (lock_id(), guess())), weighted(0.4, (lock_id(), 0..6_u64, owner)));
    let who = (0..ACCOUNTS, prop::bool::weighted(0.15), weighted(0.1, 0..8_usize));
    let data = (vec(atomic(), 0..4), vec(set(), 0..4), vec(key(), 0..3));
    (who, ids, weighted(0.8, 1..4_u64), locks, data).prop_map(
        |((account, queued, again), ids, ids_ttl_s, (unlock, lock), (atomic, sets, gets))| Plan {
            account,
            queued,
            again,
            ids,
            ids_ttl_s,
            unlock,
            lock,
            atomic,
            sets,
            gets,
        },
    )
}

fn atomic() -> impl Strategy<Value = AtomicPlan> {
    let number = prop_oneof![6 => -3..4_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let change = weighted(0.8, (prop::sample::select(&["Add", "Add", "Set", "Delete"][..]), number));
    (key(), change, weighted(0.2, guess())).prop_map(|(key, change, if_eq)| AtomicPlan { key, change, if_eq })
}

fn set() -> impl Strategy<Value = SetPlan> {
    (key(), weighted(0.8, 0..9_i64), weighted(0.5, 1..4_u64), weighted(0.25, guess()))
        .prop_map(|(key, value, ttl_s, if_version)| SetPlan { key, value, ttl_s, if_version })
}
