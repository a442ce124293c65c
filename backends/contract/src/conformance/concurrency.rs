//! Many at once: nothing is lost, nothing is torn, and every interleaving is one that deciding the
//! batches one after another would have given.

use super::client::{Ask, Client, account, ask, batch, cell, in_time, json};
use super::dice::Dice;
use crate::{Backend, BatchOutcome, RowsRead};
use dragon_core::batch::{Decided, Entry, decide_batch};
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout;
use dragon_core::verdict::Verdict;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Every increment of many writers counts once.
pub async fn many_writers_one_counter(store: Arc<dyn Backend>) {
    const WRITERS: usize = 20;
    const WRITES: usize = 25;
    let name = "many-writers";
    let client = Client::new(store);
    let write = |client: Client| async move {
        let mut seen = Vec::new();
        for _ in 0..WRITES {
            let answer = client.answer(ask(name).add("c", 1)).await;
            seen.extend(answer["Atomic"][0]["Value"].as_u64());
        }
        assert!(seen.is_sorted());
        seen
    };
    let tasks: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(client.clone()))).collect();
    let mut seen = Vec::new();
    for task in tasks {
        seen.extend(in_time(task).await.expect("no writer fails"));
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..=(WRITERS * WRITES) as u64), "every value is given out once");
    assert_eq!(client.revision(name).await, (WRITERS * WRITES) as u64);
}

/// Of many who create a key only if it is not there, one does.
pub async fn one_creator(store: Arc<dyn Backend>) {
    let name = "one-creator";
    let client = Client::new(store);
    for round in 0..10 {
        let key = format!("k{round}");
        let create = |at: usize| {
            let (client, key) = (client.clone(), key.clone());
            tokio::spawn(async move {
                let ask = ask(name).set(&key, at.to_string()).if_version(0);
                matches!(client.verdict(ask).await, Verdict::Applied(_)).then_some(at)
            })
        };
        let tasks: Vec<_> = (0..8).map(create).collect();
        let mut creators = Vec::new();
        for task in tasks {
            creators.extend(in_time(task).await.expect("no creator fails"));
        }
        assert_eq!(creators.len(), 1, "creators of {key}: {creators:?}");
        assert_eq!(client.answer(ask(name).get(&key)).await["KV"][0]["Value"], creators[0]);
    }
}

/// Many rows are loaded as of one moment, never one from before and one from after a request.
pub async fn load_is_one_moment(store: Arc<dyn Backend>) {
    const WRITES: usize = 300;
    let name = "load-moment";
    let client = Client::new(store);
    let write = || ask(name).set("a", "1").add("m", 1).set("z", "1");
    client.apply(write()).await;
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..WRITES {
                client.apply(write()).await;
            }
        })
    };
    let absent = (0..50).map(|at| cell(name, Kind::Value, &format!("b{at}")));
    let mut cells = vec![cell(name, Kind::Value, "a"), cell(name, Kind::Counter, "m")];
    cells.extend(absent);
    cells.extend([cell(name, Kind::Value, "z"), Cell::meta(&account(name))]);
    let (mut last, mut last_ms) = (0, 0);
    while !writer.is_finished() {
        let loaded = client.load(&cells).await;
        let stamps = cells.iter().zip(&loaded.rows).map(|(cell, row)| layout::stamp(cell, row.as_ref()));
        let mut stamps = stamps.collect::<Result<Vec<_>, _>>().expect("the rows can be read");
        stamps.retain(|stamp| *stamp > 0);
        assert_eq!(stamps, [stamps[0]; 4], "torn");
        assert!(stamps[0] >= last && loaded.now_ms >= last_ms, "an earlier moment");
        (last, last_ms) = (stamps[0], loaded.now_ms);
    }
    in_time(writer).await.expect("the writer is well");
}

/// A random request of few names, so that requests meet. Only locks expire: how values and ids do
/// depends on sweeps, which others may run at the same time.
fn random_ask(name: &str, dice: &mut Dice, revision: u64) -> Ask {
    let mut ask = ask(name);
    let version = |dice: &mut Dice| if dice.one_in(2) { 0 } else { revision + dice.below(30) as u64 };
    if dice.one_in(6) {
        let id = format!("i{}", dice.below(40));
        ask = if dice.one_in(2) { ask.once(&[&id]) } else { ask.once(&[&id, "beside"]) };
    }
    for _ in 0..dice.below(3) {
        let key = dice.of(&["a", "b", "c"]);
        ask = match dice.below(5) {
            0 => ask.count(key),
            1 => ask.set_counter(key, i64::MAX - 2),
            2 => ask.delete_counter(key),
            _ => ask.add(key, 1),
        };
        ask = if dice.one_in(5) { ask.if_eq(dice.below(4) as i64) } else { ask };
    }
    let first = dice.below(4);
    for at in 0..dice.below(3) {
        let key = ["k", "l", "m", "n"][(first + at) % 4];
        ask = match dice.below(4) {
            0 => ask.delete(key),
            1 => ask.set(key, "\"kept\"").ttl(3_000),
            _ => ask.set(key, dice.next().to_string()),
        };
        ask = if dice.one_in(6) { ask.if_version(version(dice)) } else { ask };
    }
    let lock = dice.of(&["x", "y"]);
    ask = match dice.below(8) {
        0 => ask.lock(lock, 1).owner("first"),
        1 => ask.lock(lock, 60).queued(),
        2 => ask.unlock(lock, version(dice)),
        3 => ask.unlock(lock, version(dice)).lock("x", 1),
        _ => ask,
    };
    ask.get(dice.of(&["k", "l", "m"]))
}

struct Call {
    entries: Arc<[Entry]>,
    outcome: Arc<Mutex<Option<BatchOutcome>>>,
}

/// Random batches from several tasks; then the same batches, decided one after another in the order
/// of the calls, must give the same verdicts and leave the same rows.
pub async fn random_load_replays(store: Arc<dyn Backend>) {
    const TASKS: usize = 4;
    const BATCHES: usize = 60;
    let names = ["replay", "replay-", "replay.b"];
    let client = Client::new(store);
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let mut dice = Dice::from_environment();
    let load = |client: Client, calls: Arc<Mutex<Vec<Call>>>, mut dice: Dice| async move {
        for at in 0..BATCHES {
            if at % 20 == 19 {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            let name = dice.of(&names);
            let revision = client.revision(name).await.saturating_sub(15);
            let count = 1 + dice.below(8);
            let entries = batch((0..count).map(|_| random_ask(name, &mut dice, revision)));
            let permit = client.gate.acquire().await.expect("the gate is never closed");
            let outcome: Arc<Mutex<Option<BatchOutcome>>> = Arc::default();
            let commit = {
                // The order of the calls is the order of the batches.
                let mut calls = calls.lock();
                calls.push(Call { entries: Arc::clone(&entries), outcome: Arc::clone(&outcome) });
                client.store.commit(entries)
            };
            let committed = in_time(commit).await.expect("the batch is committed");
            *outcome.lock() = Some(committed);
            drop(permit);
        }
    };
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(load(client.clone(), Arc::clone(&calls), Dice::seeded(dice.next()))))
        .collect();
    for task in tasks {
        tokio::time::timeout(super::client::PATIENCE * 2, task)
            .await
            .expect("in time")
            .expect("no task fails");
    }
    let rows = replay(&calls.lock());
    let cells: Vec<Cell> = rows.0.keys().cloned().collect();
    for cells in cells.chunks(500) {
        for (cell, row) in cells.iter().zip(client.load(cells).await.rows) {
            assert_eq!(row, rows.0[cell], "{cell:?}");
        }
    }
}

/// Decides the batches again, at the times at which the store did, and compares the verdicts.
fn replay(calls: &[Call]) -> RowsRead {
    let mut rows = RowsRead::default();
    let mut counts = [0; 3];
    for (at, call) in calls.iter().enumerate() {
        let outcome = call.outcome.lock().take().expect("every call was answered");
        for cell in call.entries.iter().flat_map(|entry| entry.request.footprint()) {
            rows.0.entry(cell.clone()).or_default();
        }
        let Decided { verdicts, writes } =
            decide_batch(call.entries.iter(), &mut rows, outcome.now_ms).expect("the rows can be read");
        assert_eq!(outcome.verdicts, verdicts, "batch {at}: {:#?}", call.entries);
        rows.0.extend(writes);
        for verdict in verdicts {
            match verdict {
                Verdict::Applied(applied) => {
                    json(&applied.answer);
                    counts[0] += 1;
                }
                Verdict::Rejected(_) => counts[1] += 1,
                Verdict::Blocked(_) => counts[2] += 1,
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 20), "the load is of use: {counts:?}");
    rows
}
