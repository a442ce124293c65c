//! Waking who waits for a change: never missed, not even in a race.

use super::client::{Client, ask, batch, cell, in_time, number};
use crate::Backend;
use dragon_core::cell::{Cell, Kind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Waits in a task until the row's stamp is another; gives that stamp.
fn wait_for_change(client: &Client, cell: &Cell, seen: u64) -> JoinHandle<u64> {
    let (client, cell) = (client.clone(), cell.clone());
    tokio::spawn(async move {
        loop {
            in_time(client.store.changed(&cell, seen)).await.expect("the row can be watched");
            // It may wake for nothing.
            let stamp = client.stamp(&cell).await;
            if stamp != seen {
                return stamp;
            }
        }
    })
}

/// A stamp that differs already, higher or lower, is no wait.
pub async fn changed_already(store: Arc<dyn Backend>) {
    let name = "changed-already";
    let client = Client::new(store);
    let (here, gone) = (cell(name, Kind::Value, "here"), cell(name, Kind::Value, "gone"));
    let version = number(&client.answer(ask(name).set("here", "1")).await, "Version");
    for seen in [0, version - 1, version + 1, u64::MAX] {
        in_time(client.store.changed(&here, seen)).await.expect("the row can be watched");
    }
    in_time(client.store.changed(&gone, version)).await.expect("an absent row can be watched");
}

/// Creation, change, deletion and re-creation wake; of every kind of row.
pub async fn changed_by_writes(store: Arc<dyn Backend>) {
    let name = "changed-by-writes";
    let client = Client::new(store);
    let asks = [
        (Kind::Value, [ask(name).set("x", "1"), ask(name).set("x", "1"), ask(name).delete("x")]),
        (Kind::Counter, [ask(name).add("x", 1), ask(name).add("x", 0), ask(name).delete_counter("x")]),
    ];
    for (kind, asks) in asks {
        let row = cell(name, kind, "x");
        for ask in asks.iter().chain(&asks) {
            let waiting = wait_for_change(&client, &row, client.stamp(&row).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
            client.apply(ask.clone()).await;
            let stamp = in_time(waiting).await.expect("the waiter is well");
            assert_eq!(stamp, client.stamp(&row).await);
        }
        assert_eq!(client.stamp(&row).await, 0);
    }
    let row = cell(name, Kind::Lock, "x");
    let handle = client.apply(ask(name).lock("x", 60)).await.granted.expect("it was free").handle;
    let stamp = client.blocked(ask(name).lock("x", 60)).await.stamp;
    let waiting = wait_for_change(&client, &row, stamp);
    tokio::time::sleep(Duration::from_millis(5)).await;
    client.apply(ask(name).unlock("x", handle)).await;
    assert_eq!(in_time(waiting).await.expect("the waiter is well"), 0);
}

/// Everyone who waits for a row wakes, and who waits for another one finds it unchanged.
pub async fn changed_wakes_all(store: Arc<dyn Backend>) {
    let name = "changed-wakes-all";
    let client = Client::new(store);
    let (row, other) = (cell(name, Kind::Value, "k"), cell(name, Kind::Value, "k2"));
    for _ in 0..20 {
        let seen = client.stamp(&row).await;
        let waiting: Vec<_> = (0..2).map(|_| wait_for_change(&client, &row, seen)).collect();
        let unchanged = wait_for_change(&client, &other, 0);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let version = number(&client.answer(ask(name).set("k", "1")).await, "Version");
        for waiting in waiting {
            assert_eq!(in_time(waiting).await.expect("the waiter is well"), version);
        }
        assert!(!unchanged.is_finished(), "nobody wrote the other row");
        unchanged.abort();
    }
}

/// Waking for nothing is allowed, but not all the time: two who wait for the same quiet row sleep.
pub async fn changed_sleeps(store: Arc<dyn Backend>) {
    const WAKES_MAX: usize = 100;
    let name = "changed-sleeps";
    let client = Client::new(store);
    let row = cell(name, Kind::Value, "k");
    let wakes = Arc::new(AtomicUsize::new(0));
    let wait = || {
        let (client, row, wakes) = (client.clone(), row.clone(), Arc::clone(&wakes));
        tokio::spawn(async move {
            loop {
                client.store.changed(&row, 0).await.expect("the row can be watched");
                wakes.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    };
    let waiting = [wait(), wait()];
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        client.apply(ask(name).set("another", "1")).await;
    }
    waiting.iter().for_each(JoinHandle::abort);
    let wakes = wakes.load(Ordering::Relaxed);
    assert!(wakes < WAKES_MAX, "{wakes} wake-ups for nothing");
}

/// Arming and writing race, in every interleaving that chance gives.
pub async fn changed_misses_nothing(store: Arc<dyn Backend>) {
    const ROUNDS: usize = 400;
    let name = "changed-misses-nothing";
    let client = Client::new(store);
    let row = cell(name, Kind::Counter, "c");
    for round in 0..ROUNDS {
        let seen = client.stamp(&row).await;
        let writing = |client: Client, yields: usize| {
            tokio::spawn(async move {
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                client.apply(ask(name).add("c", 1)).await;
            })
        };
        // Now the writer starts first, now the waiter.
        let (writer, waiter) = if round % 2 == 0 {
            let writer = writing(client.clone(), round % 7);
            (writer, wait_for_change(&client, &row, seen))
        } else {
            let waiter = wait_for_change(&client, &row, seen);
            (writing(client.clone(), round % 7), waiter)
        };
        in_time(writer).await.expect("the writer is well");
        assert_eq!(in_time(waiter).await.expect("woken"), client.stamp(&row).await, "round {round}");
    }
}

/// One who follows a row from stamp to stamp sees its last state, however fast it changes.
pub async fn changed_follows_to_the_end(store: Arc<dyn Backend>) {
    const WRITES: u64 = 300;
    let name = "changed-follows";
    let client = Client::new(store);
    let row = cell(name, Kind::Value, "k");
    let last = client.revision(name).await + WRITES;
    let follower = {
        let (client, row) = (client.clone(), row.clone());
        tokio::spawn(async move {
            let mut seen = client.stamp(&row).await;
            while seen != last {
                in_time(client.store.changed(&row, seen)).await.expect("the row can be watched");
                let stamp = client.stamp(&row).await;
                assert!(stamp >= seen, "a version never goes back");
                seen = stamp;
            }
        })
    };
    for _ in 0..WRITES {
        client.apply(ask(name).set("k", "1")).await;
    }
    in_time(follower).await.expect("the last change was seen");
}

/// Waits that are given up leave the store as it was.
pub async fn changed_can_be_dropped(store: Arc<dyn Backend>) {
    let name = "changed-dropped";
    let client = Client::new(Arc::clone(&store));
    let row = cell(name, Kind::Value, "k");
    let staying = wait_for_change(&client, &row, 0);
    for at in 0..500 {
        // Some are dropped before they are polled, some while they wait.
        let waiting = store.changed(&row, 0);
        if at % 2 == 0 {
            let given_up = tokio::time::timeout(Duration::from_micros(100), waiting).await;
            assert!(given_up.is_err() || given_up.is_ok_and(|woken| woken.is_ok()));
        }
    }
    let version = number(&client.answer(ask(name).set("k", "1")).await, "Version");
    assert_eq!(in_time(staying).await.expect("the waiter is well"), version);
    let outcome = in_time(store.commit(batch([ask(name).delete("k")]))).await;
    outcome.expect("the store goes on");
}
