//! Several frontends over one store.

use crate::{connect, connect_with};
use dragon_contract::Backend as _;
use dragon_contract::conformance::Case;
use dragon_contract::conformance::counting::{add_one, counter, setting, stored, sweep_marks_the_account};
use dragon_core::cell::{Cell, Kind};
use dragon_foundationdb::{FoundationDbMetrics, FoundationDbStore};
use dragon_private_foundationdb::fresh_address;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub const CASES: [Case; 6] = [
    ("time_goes_on_while_nobody_serves", || Box::pin(time_goes_on_while_nobody_serves())),
    ("a_sweep_marks_the_accounts", || Box::pin(a_sweep_marks_the_accounts())),
    ("many_start_at_once_and_count_together", || Box::pin(many_start_at_once_and_count_together())),
    ("a_change_by_another_frontend_wakes", || Box::pin(a_change_by_another_frontend_wakes())),
    ("waiters_cost_a_watch_each_and_leave_none", || Box::pin(waiters_cost_a_watch_each_and_leave_none())),
    ("ten_thousand_keys_are_watched_at_once", || Box::pin(ten_thousand_keys_are_watched_at_once())),
];

fn address() -> String {
    tokio::task::block_in_place(fresh_address)
}

async fn many_start_at_once_and_count_together() {
    const FRONTENDS: usize = 4;
    const ADDITIONS: usize = 100;
    let address = address();
    let counting = (0..FRONTENDS).map(|_| {
        let address = address.clone();
        tokio::spawn(async move {
            let store = connect(&address).await;
            let (mut values, mut longest) = (Vec::new(), Duration::ZERO);
            for _ in 0..ADDITIONS {
                let begun = Instant::now();
                values.push(add_one(&store).await.expect("it counts"));
                longest = longest.max(begun.elapsed());
            }
            store.close().await;
            (values, longest)
        })
    });
    let mut values = Vec::new();
    for counting in counting.collect::<Vec<_>>() {
        let (counted, longest) = counting.await.expect("a frontend is well");
        assert!(longest < Duration::from_secs(5), "nobody starves: {longest:?}");
        values.extend(counted);
    }
    values.sort_unstable();
    assert!(values.into_iter().eq(1..=(FRONTENDS * ADDITIONS) as i64));
}

async fn a_change_by_another_frontend_wakes() {
    let address = address();
    let (here, there) = (connect(&address).await, connect(&address).await);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (_, seen) = stored(&here).await;
        let waiting = {
            let here = here.clone();
            tokio::spawn(async move { here.changed(&counter(), seen).await })
        };
        sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        add_one(&there).await.expect("it counts");
        let begun = Instant::now();
        timeout(Duration::from_secs(5), waiting).await.expect("in time").expect("it is well").expect("woken");
        waits.push(begun.elapsed());
        assert!(stored(&here).await.1 > seen);
    }
    waits.sort_unstable();
    println!("woken by another frontend after {:?}, at most {:?}", waits[10], waits[19]);
}

/// A store, and how many native watches it has.
async fn counting_watches() -> (FoundationDbStore, impl Fn() -> i64) {
    let (mut registry, metrics) = (Registry::default(), FoundationDbMetrics::default());
    metrics.register(&mut registry);
    let store = connect_with(&address(), metrics).await;
    let watches = move || {
        let mut shown = String::new();
        encode(&mut shown, &registry).expect("text");
        let watches = shown.lines().find_map(|line| line.strip_prefix("dragon_foundationdb_watches "));
        watches.expect("they are shown").parse().expect("a number")
    };
    (store, watches)
}

async fn waiters_cost_a_watch_each_and_leave_none() {
    let (store, watches) = counting_watches().await;
    let (_, seen) = stored(&store).await;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.changed(&counter(), seen).await })
        })
        .collect();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(watches(), 10);
    waiting[0].abort();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(watches(), 9);
    add_one(&store).await.expect("it counts");
    for waiting in waiting.into_iter().skip(1) {
        waiting.await.expect("it is well").expect("woken");
    }
    assert_eq!(watches(), 0);
}

async fn a_sweep_marks_the_accounts() {
    sweep_marks_the_account(&connect(&address()).await).await;
}

/// As many as the client library allows by itself: the limit is raised.
async fn ten_thousand_keys_are_watched_at_once() {
    const BATCHES: usize = 11;
    const KEYS_EACH: usize = 1_000;
    let (store, watches) = counting_watches().await;
    let cell = |number: usize| Cell::new(&counter().account(), Kind::Value, &format!("k{number}"));
    let mut waiting = JoinSet::new();
    for number in 0..BATCHES * KEYS_EACH {
        let (store, cell) = (store.clone(), cell(number));
        waiting.spawn(async move { store.changed(&cell, 0).await });
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!((watches(), waiting.len()), ((BATCHES * KEYS_EACH) as i64, BATCHES * KEYS_EACH));
    for batch in 0..BATCHES {
        let keys = (0..KEYS_EACH).map(|number| format!("k{}", batch * KEYS_EACH + number));
        store.commit(setting(keys)).await.expect("it is committed");
    }
    while let Some(woken) =
        timeout(Duration::from_secs(30), waiting.join_next()).await.expect("nobody sleeps on")
    {
        woken.expect("it is well").expect("woken");
    }
    assert_eq!(watches(), 0);
}

async fn time_goes_on_while_nobody_serves() {
    const PAUSE: Duration = Duration::from_secs(8);
    let address = address();
    let store = connect(&address).await;
    let now_ms = async |store: &FoundationDbStore| store.health().await.expect("it is well").now_ms;
    let (before_ms, begun) = (now_ms(&store).await, Instant::now());
    store.close().await;
    sleep(PAUSE).await;
    let store = connect(&address).await;
    let gone = Duration::from_millis(now_ms(&store).await - before_ms);
    // The versions of an idle cluster may lag by some seconds.
    assert!(gone + Duration::from_secs(3) > begun.elapsed(), "{gone:?} of {:?}", begun.elapsed());
    assert!(gone < begun.elapsed() + Duration::from_secs(1), "{gone:?} of {:?}", begun.elapsed());
}
