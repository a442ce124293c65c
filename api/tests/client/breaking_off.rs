//! Taking a lock unless something else happens first: when it has happened, nothing is left behind.

use crate::place::{Place, seconds};
use crate::support::eventually;
use dragon_client::{Account, Error, LockBuilder, RetryPolicy};
use std::time::Duration;

fn lock(account: &Account) -> LockBuilder {
    account.lock("l").lease(seconds(60)).wait(seconds(120))
}

async fn assert_free(place: &Place) {
    let held = place.raw().held_lock("l").await;
    assert!(held.is_none(), "{held:?}");
}

#[tokio::test]
async fn a_lock_whose_grant_is_under_way_is_given_back_before_it_is_told() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    for _ in 0..5 {
        proxy.hold_answers(true);
        let granted = async {
            eventually("the grant", || raw.held_lock("l")).await;
            proxy.hold_answers(false);
            7
        };
        assert_eq!(lock(&account).acquire_unless(granted).await.unwrap().unwrap_err(), 7);
        assert_free(&place).await;
    }
}

#[tokio::test]
async fn a_lock_whose_grant_is_lost_is_given_back_before_it_is_told() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    proxy.lose_answers(usize::MAX);
    let granted = async {
        eventually("the grant", || raw.held_lock("l")).await;
        // What undoes it is not answered at once either.
        proxy.lose_answers(2);
    };
    lock(&account).acquire_unless(granted).await.unwrap().unwrap_err();
    assert_eq!(proxy.answers_to_lose(), 0);
    assert_free(&place).await;
}

#[tokio::test]
async fn an_error_is_told_when_nothing_is_left_behind() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy_with(RetryPolicy::never()).await;
    // The answer that grants it, that of the question what became of it, and those of what undoes it.
    proxy.lose_answers(4);
    let error = lock(&account).acquire_unless(std::future::pending::<()>()).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted(_)), "{error:?}");
    assert_eq!(proxy.answers_to_lose(), 0);
    assert_free(&place).await;
}

#[tokio::test]
async fn a_wait_that_is_broken_off_never_gets_the_lock() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let raw = place.raw();
    let handle = raw.lock("l", 300).await;
    // The server believes that the client is there.
    proxy.hide_hang_ups(true);
    lock(&account).acquire_unless(raw.until_waiting("l", 1)).await.unwrap().unwrap_err();
    raw.unlock("l", handle).await;
    raw.until_waiting("l", 0).await;
    assert_free(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lock_that_is_there_when_it_is_broken_off_is_given_back_before_it_is_told() {
    let place = Place::start();
    let account = place.account();
    // It keeps the one who asks from seeing that the lock was granted meanwhile, by a task of the other thread.
    let broken_off = async { std::thread::sleep(Duration::from_millis(300)) };
    lock(&account).acquire_unless(broken_off).await.unwrap().unwrap_err();
    assert_free(&place).await;
}

#[tokio::test]
async fn whatever_moment_it_is_broken_off_at_either_the_lock_is_held_or_free() {
    let place = Place::start();
    let account = place.account();
    for pause_us in (0..40).map(|step| step * 100) {
        let pause = tokio::time::sleep(Duration::from_micros(pause_us));
        if let Ok(guard) = lock(&account).acquire_unless(pause).await.unwrap() {
            assert_eq!(place.raw().held_lock("l").await.unwrap()["Lock"], guard.handle().0);
            guard.release().await.unwrap();
        }
        assert_free(&place).await;
    }
}
