//! Lock queues: first come, first served; who leaves, leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod support;

use dragon_core::request::{AtomicDraft, Draft};
use dragon_waiters::Failure;
use std::sync::Arc;
use std::time::Duration;
use support::{frontend, is_timeout, lock, request, set, submit, take, unlock, until_waiting};
use tokio::sync::Mutex;

#[tokio::test(flavor = "multi_thread")]
async fn waiters_get_the_lock_in_the_order_of_their_coming() {
    let frontend = frontend();
    let mut handle = take(&frontend, 0).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..50 {
        let (own, order) = (frontend.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let handle = take(&own, 60).await.unwrap();
            order.lock().await.push((number, handle));
            handle
        }));
        until_waiting(&frontend, number + 1).await;
    }
    for task in tasks {
        submit(&frontend, unlock(handle)).await.unwrap();
        handle = task.await.unwrap();
    }
    let order = order.lock().await;
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_overtakes_not_even_without_waiting() {
    let frontend = frontend();
    let handle = take(&frontend, 0).await.unwrap();
    let own = frontend.clone();
    let waiting = tokio::spawn(async move { take(&own, 60).await.unwrap() });
    until_waiting(&frontend, 1).await;
    assert!(is_timeout(&take(&frontend, 0).await.unwrap_err()));
    submit(&frontend, unlock(handle)).await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_hangs_up_leaves_the_queue_and_never_gets_the_lock() {
    let frontend = frontend();
    let mut handle = take(&frontend, 0).await.unwrap();
    for _ in 0..30 {
        let spawn_waiter = || {
            let own = frontend.clone();
            tokio::spawn(async move { take(&own, 60).await.unwrap() })
        };
        let gone = spawn_waiter();
        until_waiting(&frontend, 1).await;
        let patient = spawn_waiter();
        until_waiting(&frontend, 2).await;
        // Hanging up and giving back race each other: either way the patient one gets the lock.
        gone.abort();
        submit(&frontend, unlock(handle)).await.unwrap();
        handle = tokio::time::timeout(Duration::from_secs(10), patient).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_nobody_takes_is_given_back_unless_ids_were_given() {
    let frontend = frontend();
    drop(frontend.submit(request(lock(0))).await.unwrap());
    let handle = tokio::time::timeout(Duration::from_secs(10), take(&frontend, 60)).await.unwrap().unwrap();
    submit(&frontend, unlock(handle)).await.unwrap();

    let with_id = Draft { idempotency_ids: vec!["once".into()], ..lock(0) };
    drop(frontend.submit(request(with_id)).await.unwrap());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(is_timeout(&take(&frontend, 0).await.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_that_is_refused_lets_the_next_try_at_once() {
    let frontend = frontend();
    let handle = take(&frontend, 0).await.unwrap();
    let mut refused = lock(60);
    refused.atomic = vec![AtomicDraft { key: "n".into(), if_eq: Some(7), ..AtomicDraft::default() }];
    let own = frontend.clone();
    let first = tokio::spawn(async move { submit(&own, refused).await });
    until_waiting(&frontend, 1).await;
    let own = frontend.clone();
    let second = tokio::spawn(async move { take(&own, 60).await });
    until_waiting(&frontend, 2).await;
    submit(&frontend, unlock(handle)).await.unwrap();
    assert!(matches!(first.await.unwrap(), Err(Failure::Rejected(_))));
    tokio::time::timeout(Duration::from_secs(10), second).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_wakes_the_next() {
    let frontend = frontend();
    submit(&frontend, Draft { lock_dur_s: Some(1), ..lock(0) }).await.unwrap();
    let answer = submit(&frontend, lock(60)).await.unwrap();
    assert!(answer.contains("\"Expired\":true"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_every_wait_and_starts_none() {
    let frontend = frontend();
    take(&frontend, 0).await.unwrap();
    let waits: Vec<_> = (0..5)
        .map(|_| {
            let own = frontend.clone();
            tokio::spawn(async move { take(&own, 60).await })
        })
        .collect();
    until_waiting(&frontend, 5).await;
    frontend.drain();
    for wait in waits {
        assert!(matches!(wait.await.unwrap(), Err(Failure::Draining)));
    }
    assert!(matches!(take(&frontend, 60).await, Err(Failure::Draining)));
    // What does not wait is still served.
    submit(&frontend, Draft { kv_set: vec![set("k", "1")], ..Draft::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_waiters_all_get_through_once() {
    let frontend = frontend();
    let handle = take(&frontend, 0).await.unwrap();
    let tasks: Vec<_> = (0..2_000)
        .map(|_| {
            let own = frontend.clone();
            tokio::spawn(async move {
                let handle = take(&own, 300).await.unwrap();
                submit(&own, unlock(handle)).await.unwrap();
                handle
            })
        })
        .collect();
    until_waiting(&frontend, 2_000).await;
    submit(&frontend, unlock(handle)).await.unwrap();
    let mut handles = Vec::new();
    for task in tasks {
        handles.push(task.await.unwrap());
    }
    handles.sort_unstable();
    handles.dedup();
    assert_eq!(handles.len(), 2_000);
}
