//! Taking a lock when the connection breaks, the server goes, or nobody wants the lock any more.

use crate::place::{Place, account_at, account_with, seconds};
use crate::support::eventually;
use dragon_client::{Account, Error, LockGuard, RetryPolicy};
use tokio::task::JoinHandle;

fn begin(account: &Account) -> JoinHandle<Result<LockGuard, Error>> {
    let lock = account.lock("l").lease(seconds(60)).wait(seconds(120));
    tokio::spawn(lock.acquire())
}

async fn until_free(place: &Place) {
    let raw = place.raw();
    eventually("the lock is free", || async { raw.held_lock("l").await.is_none().then_some(()) }).await;
}

#[tokio::test]
async fn a_lost_answer_does_not_lose_the_lock() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    // The answer that grants it, and that of the question what became of it.
    proxy.lose_answers(2);
    let guard = begin(&account).await.unwrap().unwrap();
    assert_eq!(proxy.answers_to_lose(), 0);
    assert!(guard.is_held());
    assert_eq!(place.raw().held_lock("l").await.unwrap()["Lock"], guard.handle().0);
    guard.release().await.unwrap();
    until_free(&place).await;
}

#[tokio::test]
async fn a_wait_whose_connection_breaks_goes_on() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    let handle = raw.lock("l", 300).await;
    let waiting = begin(&account);
    for _ in 0..3 {
        raw.until_waiting("l", 1).await;
        let before = proxy.connections();
        proxy.cut();
        // For how short a time it is out of the queue can't be told.
        eventually("another connection", || async { (proxy.connections() > before).then_some(()) }).await;
    }
    raw.until_waiting("l", 1).await;
    raw.unlock("l", handle).await;
    let guard = waiting.await.unwrap().unwrap();
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_request_that_the_server_still_believes_in_does_not_stand_in_the_way() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    let handle = raw.lock("l", 300).await;
    let waiting = begin(&account);
    raw.until_waiting("l", 1).await;
    // The client asks again, and the server has both of its requests in the queue.
    proxy.orphan();
    raw.until_waiting("l", 2).await;
    raw.unlock("l", handle).await;
    // Were the first one granted, this would wait for as long as its lease lasts.
    let guard = tokio::time::timeout(seconds(30), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(raw.held_lock("l").await.unwrap()["Lock"], guard.handle().0);
    raw.until_waiting("l", 0).await;
    guard.release().await.unwrap();
    until_free(&place).await;
}

#[tokio::test]
async fn a_wait_goes_on_at_a_server_that_was_started_again() {
    let mut place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let handle = place.raw().lock("l", 300).await;
    let waiting = begin(&account);
    place.raw().until_waiting("l", 1).await;
    place.restart();
    proxy.lead_to(place.server.address());
    place.raw().until_waiting("l", 1).await;
    place.raw().unlock("l", handle).await;
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_the_queue_and_takes_nothing() {
    let place = Place::start();
    let raw = place.raw();
    let handle = raw.lock("l", 300).await;
    let account = place.account();
    for _ in 0..5 {
        let waiting = begin(&account);
        raw.until_waiting("l", 1).await;
        waiting.abort();
        raw.until_waiting("l", 0).await;
    }
    raw.unlock("l", handle).await;
    until_free(&place).await;
}

#[tokio::test]
async fn a_lock_that_was_granted_to_a_dropped_future_is_given_back() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    for _ in 0..5 {
        proxy.hold_answers(true);
        let waiting = begin(&account);
        eventually("the grant", || raw.held_lock("l")).await;
        proxy.hold_answers(false);
        waiting.abort();
        until_free(&place).await;
    }
}

#[tokio::test]
async fn a_dropped_wait_that_the_server_still_believes_in_never_gets_the_lock() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    let handle = raw.lock("l", 300).await;
    let waiting = begin(&account);
    raw.until_waiting("l", 1).await;
    let mut revision = raw.next_revision().await;
    proxy.hide_hang_ups(true);
    waiting.abort();
    // There is one revision that is none of these: the id of the request was used up.
    eventually("one more revision", async || {
        revision += 1;
        (raw.next_revision().await > revision).then_some(())
    })
    .await;
    raw.until_waiting("l", 1).await;
    raw.unlock("l", handle).await;
    until_free(&place).await;
    raw.until_waiting("l", 0).await;
}

#[tokio::test]
async fn a_guard_that_nobody_takes_gives_its_lock_back() {
    let place = Place::start();
    let account = account_at(place.server.address());
    for pause_us in (0..40).map(|step| step * 100) {
        let taking = begin(&account);
        tokio::time::sleep(std::time::Duration::from_micros(pause_us)).await;
        taking.abort();
        drop(taking.await);
        until_free(&place).await;
    }
}

#[tokio::test]
async fn a_wait_ends_when_the_server_is_away_for_longer_than_is_tried() {
    let mut place = Place::start();
    let policy = RetryPolicy::lasting(seconds(1) / 3);
    let account = account_with(place.server.address(), policy);
    place.raw().lock("l", 300).await;
    let waiting = begin(&account);
    place.raw().until_waiting("l", 1).await;
    place.server.kill();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}
