//! Snapshots: all of an account, nothing else, as of one moment, however much is written meanwhile.

use super::client::{Ask, Client, account, ask, cell, in_time};
use super::dice::Dice;
use crate::{Backend, NamedRow, SNAPSHOT_STEP_BYTES, Snapshot};
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout;
use std::sync::Arc;

async fn begin(client: &Client, name: &str) -> Box<dyn Snapshot> {
    in_time(client.store.snapshot(&account(name))).await.expect("the snapshot begins")
}

async fn next(snapshot: &mut Box<dyn Snapshot>) -> Vec<NamedRow> {
    in_time(snapshot.next()).await.expect("the snapshot goes on")
}

/// All rows of a snapshot: in order, none twice, of that account.
async fn read(snapshot: &mut Box<dyn Snapshot>, name: &str) -> Vec<NamedRow> {
    let mut rows: Vec<NamedRow> = Vec::new();
    loop {
        let more = next(snapshot).await;
        if more.is_empty() {
            break;
        }
        let bytes: usize = more.iter().map(|(cell, row)| cell.as_bytes().len() + row.len()).sum();
        let last = more.last().map_or(0, |(cell, row)| cell.as_bytes().len() + row.len());
        assert!(bytes - last < 2 * SNAPSHOT_STEP_BYTES, "a step of {bytes} bytes");
        rows.extend(more);
    }
    assert!(next(snapshot).await.is_empty(), "the end is the end");
    assert!(rows.is_sorted_by(|(one, _), (other, _)| one < other), "in order, and none twice");
    assert!(rows.iter().all(|(cell, _)| cell.account_name() == name), "of this account alone");
    rows
}

/// The cells that the rows of a snapshot have, and the same rows by the other way.
async fn assert_loads_alike(client: &Client, rows: &[NamedRow]) {
    for rows in rows.chunks(500) {
        let cells: Vec<Cell> = rows.iter().map(|(cell, _)| cell.clone()).collect();
        let loaded = client.load(&cells).await;
        assert!(rows.iter().zip(loaded.rows).all(|((_, row), loaded)| loaded.as_ref() == Some(row)));
    }
}

/// Every row of every kind, the account's own first, and none of its neighbours; none at all of an account
/// that is not there.
pub async fn snapshot_is_whole(store: Arc<dyn Backend>) {
    let client = Client::new(store);
    let names = ["snapshot-whole", "snapshot-whole-", "snapshot-whole.b", "snapshot-whole0"];
    for name in names {
        let all = ask(name).set("k", format!("{name:?}")).set("old", "1").ttl(60);
        client.apply(all.add("c", 1).lock("l", 60).owner("me").once(&["i", "j"])).await;
        client.apply(ask(name).set("gone", "1")).await;
        client.apply(ask(name).delete("gone")).await;
    }
    for name in names {
        let rows = read(&mut begin(&client, name).await, name).await;
        let kinds = [(Kind::Meta, ""), (Kind::Value, "k"), (Kind::Value, "old"), (Kind::Counter, "c")];
        let more = [(Kind::Lock, "l"), (Kind::Idempotency, "i"), (Kind::Idempotency, "j")];
        let expected: Vec<Cell> =
            kinds.into_iter().chain(more).map(|(kind, id)| cell(name, kind, id)).collect();
        assert_eq!(rows.iter().map(|(cell, _)| cell.clone()).collect::<Vec<_>>(), expected);
        assert_loads_alike(&client, &rows).await;
    }
    let nobodys = "snapshot-whol";
    assert!(read(&mut begin(&client, nobodys).await, nobodys).await.is_empty());
}

const LARGE_ROWS: usize = 40;

/// The large value of a key.
fn large(at: usize, mark: char) -> String {
    format!("\"{at}{}\"", String::from(mark).repeat(400_000 + at))
}

/// Many steps, between which rows before and behind what was read are changed, deleted, made and made anew:
/// the snapshot shows none of it. Two at once don't disturb each other, and one that is dropped disturbs
/// nobody.
pub async fn snapshot_is_one_moment(store: Arc<dyn Backend>) {
    let name = "snapshot-one-moment";
    let client = Client::new(store);
    let key = |at: usize| format!("k{at:03}");
    for at in 0..LARGE_ROWS {
        client.apply(ask(name).set(&key(at), large(at, 'a')).set(&format!("s{at:03}"), "0")).await;
    }
    let revision = client.revision(name).await;
    let mut first = begin(&client, name).await;
    let mut rows = next(&mut first).await;
    assert!(rows.len() < LARGE_ROWS, "it takes several steps");
    let dropped = begin(&client, name).await;
    let changes: [fn(Ask, &str, usize) -> Ask; 4] = [
        |ask, key, at| ask.set(key, large(at, 'b')),
        |ask, key, _| ask.delete(key),
        |ask, key, _| ask.set(key, "1"),
        |ask, key, _| ask.set(&format!("{key}-new"), "1"),
    ];
    for at in 0..LARGE_ROWS {
        let change = changes[at % changes.len()];
        client.apply(change(ask(name).set(&format!("s{at:03}"), "1").add("c", 1), &key(at), at)).await;
    }
    drop(dropped);
    let second_revision = client.revision(name).await;
    let mut second = begin(&client, name).await;
    let mut second_rows = next(&mut second).await;
    for at in (0..LARGE_ROWS).filter(|at| at % changes.len() == 1) {
        client.apply(ask(name).set(&key(at), large(at, 'c'))).await;
    }
    client.apply((0..LARGE_ROWS).fold(ask(name), |ask, at| ask.delete(&format!("s{at:03}")))).await;
    rows.extend(read(&mut first, name).await);
    second_rows.extend(read(&mut second, name).await);

    assert_eq!(stamps(&rows).max(), Some(revision));
    assert_eq!(rows.len(), 1 + 2 * LARGE_ROWS);
    for at in 0..LARGE_ROWS {
        let (value, small) = (&rows[1 + at], &rows[1 + LARGE_ROWS + at]);
        assert_eq!((value.0.id(), small.0.id()), (key(at).as_str(), format!("s{at:03}").as_str()));
        assert!(layout::value(&value.1) == large(at, 'a') && layout::value(&small.1) == "0", "{at}");
    }
    assert_eq!(stamps(&second_rows).max(), Some(second_revision));
    let values: Vec<&NamedRow> = second_rows.iter().filter(|(cell, _)| cell.id().starts_with('k')).collect();
    // A quarter was deleted, and another added.
    assert_eq!(values.len(), LARGE_ROWS);
    for (cell, row) in values.iter().filter(|(cell, _)| !cell.id().ends_with("-new")) {
        let at: usize = cell.id()[1..].parse().expect("a number");
        let expected = [large(at, 'b'), "never".into(), "1".into(), large(at, 'a')];
        assert!(layout::value(row) == expected[at % changes.len()], "{at}");
    }
    let small =
        second_rows.iter().filter(|(cell, _)| cell.kind() == Kind::Value && cell.id().starts_with('s'));
    assert!(small.clone().all(|(_, row)| layout::value(row) == "1") && small.count() == LARGE_ROWS);
}

fn stamps(rows: &[NamedRow]) -> impl Iterator<Item = u64> {
    rows.iter().map(|(cell, row)| layout::stamp(cell, Some(row)).expect("the rows can be read"))
}

/// While many write, each request of whom keeps the sum of two counters and sets two values alike, all
/// snapshots show all of a request or nothing of it; and whatever was answered before it began.
pub async fn snapshots_tear_no_request(store: Arc<dyn Backend>) {
    const COUNTERS: usize = 200;
    const WRITERS: usize = 8;
    let name = "snapshots-tear";
    let client = Client::new(store);
    // Large enough for some steps.
    let filler = format!("\"{}\"", "f".repeat(300_000));
    for at in 0..12 {
        client.apply(ask(name).set(&format!("m{at}"), filler.clone())).await;
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, stop, mut dice) = (client.clone(), Arc::clone(&stop), Dice::seeded(writer as u64));
            tokio::spawn(async move {
                let mut count = 0_u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    count += 1;
                    let (from, to) = (dice.below(COUNTERS), dice.below(COUNTERS));
                    let (early, late) = (format!("a{writer}"), format!("z{writer}"));
                    let moved = ask(name).add(&format!("c{from}"), -1).add(&format!("c{to}"), 1);
                    client.apply(moved.set(&early, count.to_string()).set(&late, count.to_string())).await;
                }
            })
        })
        .collect();
    for _ in 0..8 {
        client.apply(ask(name).set("answered", "1")).await;
        let before = client.revision(name).await;
        let rows = read(&mut begin(&client, name).await, name).await;
        let revision = stamps(&rows).next().expect("the account's own row comes first");
        assert!(revision >= before, "what was answered is in it");
        assert!(stamps(&rows).all(|stamp| stamp <= revision), "nothing in it is later than it is");
        let counters = rows.iter().filter(|(cell, _)| cell.kind() == Kind::Counter);
        let number = |(cell, row): &NamedRow| layout::read_counter(cell, Some(row)).expect("a counter");
        assert_eq!(counters.map(number).sum::<i64>(), 0);
        let value = |id: String| {
            let found = rows.iter().find(|(cell, _)| cell.kind() == Kind::Value && cell.id() == id);
            found.map(|(_, row)| layout::value(row))
        };
        for writer in 0..WRITERS {
            assert_eq!(value(format!("a{writer}")), value(format!("z{writer}")));
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for writer in writers {
        in_time(writer).await.expect("the writer ends");
    }
}
