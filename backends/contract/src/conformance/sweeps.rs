//! Sweeping: what has expired goes, what lives stays, whatever happens meanwhile.

use super::client::{Client, ask, cell, in_time, number};
use crate::Backend;
use dragon_core::cell::{Cell, Kind};
use std::sync::Arc;

/// Sweeps until nothing of these rows is left.
async fn sweep_away(client: &Client, cells: &[Cell], limit: usize) {
    in_time(async {
        while client.load(cells).await.rows.iter().any(Option::is_some) {
            let swept = client.store.sweep(limit).await.expect("the sweep is done");
            assert!(swept <= limit, "{swept} of at most {limit}");
        }
    })
    .await;
}

/// Expired values and ids go; live ones, rewritten ones, counters and freshly expired locks stay.
pub async fn sweep_takes_only_the_expired(store: Arc<dyn Backend>) {
    let name = "sweep";
    let client = Client::new(store);
    let write = ask(name).set("gone", "1").ttl(1).set("gone2", "1").ttl(1).set("rewritten", "1").ttl(1);
    let write = write.set("live", "1").ttl(600).set("for ever", "1").add("c", 1).lock("l", 1);
    let version = number(&client.answer(write.once(&["i", "j"]).remembered(1)).await, "Version");
    client.apply(ask(name).set("rewritten", "2")).await;
    client.outlive(1).await;
    let row = |kind, id| cell(name, kind, id);
    let gone = [
        row(Kind::Value, "gone"),
        row(Kind::Value, "gone2"),
        row(Kind::Idempotency, "i"),
        row(Kind::Idempotency, "j"),
    ];
    sweep_away(&client, &gone, 1).await;
    for _ in 0..3 {
        in_time(client.store.sweep(1_000)).await.expect("the sweep is done");
    }
    let stay = [
        (row(Kind::Value, "rewritten"), version + 1),
        (row(Kind::Value, "live"), version),
        (row(Kind::Value, "for ever"), version),
        (row(Kind::Counter, "c"), version),
        (row(Kind::Lock, "l"), version),
        (Cell::meta(&super::client::account(name)), version + 1),
    ];
    for (cell, stamp) in stay {
        assert_eq!(client.stamp(&cell).await, stamp, "{cell:?}");
    }
    let answer = client.answer(ask(name).lock("l", 60).set("gone", "2").if_version(0)).await;
    assert_eq!((answer["Expired"] == true, number(&answer, "Version")), (true, version + 2));
}

/// A row that is written anew while it is being swept stays.
pub async fn sweep_spares_what_is_rewritten(store: Arc<dyn Backend>) {
    let name = "sweep-race";
    let client = Client::new(store);
    let keys: Vec<String> = (0..200).map(|at| format!("k{at:03}")).collect();
    client.apply(keys.iter().fold(ask(name), |ask, key| ask.set(key, "1").ttl(1))).await;
    client.outlive(1).await;
    let sweeper = {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                client.store.sweep(10).await.expect("the sweep is done");
            }
        })
    };
    for keys in keys.chunks(10).rev() {
        client.apply(keys.iter().fold(ask(name), |ask, key| ask.set(key, "2").if_version(0))).await;
    }
    in_time(sweeper).await.expect("the sweeper is well");
    in_time(client.store.sweep(1_000)).await.expect("the sweep is done");
    let cells: Vec<Cell> = keys.iter().map(|key| cell(name, Kind::Value, key)).collect();
    assert!(client.load(&cells).await.rows.iter().all(Option::is_some), "a live row was swept");
}

/// Sweeping a row changes its stamp, so it wakes who waits for that.
pub async fn sweep_wakes(store: Arc<dyn Backend>) {
    let name = "sweep-wakes";
    let client = Client::new(store);
    let row = cell(name, Kind::Value, "k");
    let version = number(&client.answer(ask(name).set("k", "1").ttl(1)).await, "Version");
    let waiting = {
        let (client, row) = (client.clone(), row.clone());
        tokio::spawn(async move {
            while client.stamp(&row).await == version {
                in_time(client.store.changed(&row, version)).await.expect("the row can be watched");
            }
        })
    };
    client.outlive(1).await;
    sweep_away(&client, &[row], 100).await;
    in_time(waiting).await.expect("the waiter is woken");
    assert_eq!(client.revision(name).await, version, "a sweep raises no revision");
}
