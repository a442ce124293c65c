//! Locks that are held by guards.

use crate::place::{Place, seconds};
use crate::support::eventually;
use dragon_client::{Account, Code, Error, Handle, LockGuard, Lost, Request};
use std::time::{Duration, Instant};

/// Waits until nobody holds the lock.
async fn until_free(place: &Place, lock: &str) {
    let raw = place.raw();
    eventually("the lock is free", || async { raw.held_lock(lock).await.is_none().then_some(()) }).await;
}

async fn take(account: &Account, lease_s: u64) -> LockGuard {
    account.lock("l").lease(seconds(lease_s)).wait(seconds(60)).acquire().await.unwrap()
}

#[tokio::test]
async fn one_waits_for_the_other() {
    let place = Place::start();
    let (account, raw) = (place.account(), place.raw());
    let first = account.lock("l").owner("first").acquire().await.unwrap();
    assert!(first.is_held() && !first.followed_an_expired_one());
    let error = account.lock("l").acquire().await.unwrap_err();
    assert_eq!(
        (error.code(), error.refusal().unwrap().owner.as_deref()),
        (Some(&Code::LockTimeout), Some("first"))
    );
    let second = tokio::spawn({
        let account = account.clone();
        async move { take(&account, 30).await }
    });
    raw.until_waiting("l", 1).await;
    let handle = first.handle();
    first.release().await.unwrap();
    let second = second.await.unwrap();
    assert!(second.handle() > handle);
    second.release().await.unwrap();
    assert!(raw.held_lock("l").await.is_none());
}

#[tokio::test]
async fn a_lock_is_extended_over_many_leases_and_given_back_when_dropped() {
    let place = Place::start();
    let guard = take(&place.account(), 1).await;
    let handle = guard.handle();
    let begun = Instant::now();
    // Nobody gets it meanwhile, though one tries all the time.
    while begun.elapsed() < seconds(4) {
        assert!(guard.is_held() && guard.held_until() > Instant::now());
        let error = place.account().lock("l").wait(seconds(1)).acquire().await.unwrap_err();
        assert_eq!(error.code(), Some(&Code::LockTimeout));
    }
    assert_eq!(guard.handle(), handle);
    drop(guard);
    until_free(&place, "l").await;
}

#[tokio::test]
async fn a_lock_that_had_to_be_waited_for_has_most_of_its_lease_left() {
    let place = Place::start();
    let (account, raw) = (place.account(), place.raw());
    let first = take(&account, 30).await;
    let waiting = tokio::spawn({
        let account = account.clone();
        async move { account.lock("l").lease(seconds(2)).wait(seconds(60)).acquire().await.unwrap() }
    });
    raw.until_waiting("l", 1).await;
    // The wait is to be longer than the lease.
    tokio::time::sleep(seconds(3)).await;
    first.release().await.unwrap();
    let second = waiting.await.unwrap();
    assert!(second.is_held());
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stands_still_has_the_loss_told_before_anyone_else_gets_the_lock() {
    let place = Place::start();
    let (account, raw) = (place.account(), place.raw());
    let first = take(&account, 2).await;
    let next = tokio::spawn({
        let account = account.clone();
        async move {
            let guard = take(&account, 30).await;
            (Instant::now(), guard)
        }
    });
    raw.until_waiting("l", 1).await;
    place.server.signal("STOP");
    let lost = first.lost().await;
    let told = Instant::now();
    assert!(matches!(lost, Lost::NotExtended(_)), "{lost:?}");
    assert!(!first.is_held() && first.held_until() <= told);
    assert!(!next.is_finished());
    place.server.signal("CONT");
    let (granted, second) = next.await.unwrap();
    assert!(granted > told && second.handle() > first.handle());
    // It stays lost, and nothing that it guards is written.
    assert!(!first.is_held());
    let error = account.transact(first.guard(Request::new().add("n", 1)).unwrap()).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotLocked));
    second.release().await.unwrap();
    assert_eq!(account.counter("n").await.unwrap(), 0);
}

#[tokio::test]
async fn a_lease_counts_from_when_it_was_asked_for_not_from_the_answer() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    proxy.delay_answers(Duration::from_millis(600));
    let first = take(&account, 2).await;
    let next = tokio::spawn({
        let account = place.account();
        async move {
            let guard = take(&account, 30).await;
            (Instant::now(), guard)
        }
    });
    place.raw().until_waiting("l", 1).await;
    let until = first.held_until();
    eventually("an extension", || async { (first.held_until() > until).then_some(()) }).await;
    proxy.swallow_requests(true);
    let lost = first.lost().await;
    let told = Instant::now();
    assert!(matches!(lost, Lost::NotExtended(_)), "{lost:?}");
    let (granted, second) = next.await.unwrap();
    assert!(granted > told && second.followed_an_expired_one());
}

#[tokio::test]
async fn a_stall_that_is_shorter_than_the_lease_loses_nothing() {
    let place = Place::start();
    let guard = take(&place.account(), 10).await;
    let until = guard.held_until();
    place.server.signal("STOP");
    // The next extension is under way then.
    tokio::time::sleep(seconds(4)).await;
    place.server.signal("CONT");
    eventually("an extension", || async { (guard.held_until() > until).then_some(()) }).await;
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_someone_else_gave_back_is_lost() {
    let place = Place::start();
    let account = place.account();
    let mut guard = take(&account, 3).await;
    place.raw().unlock("l", guard.handle().0).await;
    let lost = guard.lost().await;
    assert!(matches!(lost, Lost::NotLocked), "{lost:?}");
    assert!(!guard.is_held());
    let guarded = guard.guard(Request::new().add("n", 1)).unwrap();
    let error = account.transact_once(guarded).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotLocked));
    let error = guard.release_with(Request::new().add("n", 1)).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotLocked));
    let error = guard.release().await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotLocked));
    assert_eq!(account.counter("n").await.unwrap(), 0);
}

#[tokio::test]
async fn guarded_writes_and_the_last_one_happen_once() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let mut guard = take(&account, 30).await;
    proxy.lose_answers(2);
    account.transact_once(guard.guard(Request::new().add("n", 1)).unwrap()).await.unwrap();
    let error = guard.release_with(Request::new().add("n", i64::MAX)).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::CounterOverflow));
    assert!(guard.is_held(), "what is refused gives nothing back");
    proxy.lose_answers(2);
    let answer = guard.release_with(Request::new().add("n", 1)).await.unwrap();
    assert_eq!(answer.counter("n"), Some(2));
    assert!(!guard.is_held() && matches!(guard.lost().await, Lost::GivenBack));
    let error = guard.release_with(Request::new().add("n", 1)).await.unwrap_err();
    assert!(matches!(error, Error::Lost(Lost::GivenBack)), "{error:?}");
    assert!(place.raw().held_lock("l").await.is_none());
    let error = guard.guard(Request::new().unlock("other", Handle(1))).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn the_next_holder_is_told_that_a_lease_ran_out() {
    let place = Place::start();
    let account = place.account();
    account.transact(Request::new().lock("l", seconds(1))).await.unwrap();
    let guard = take(&account, 30).await;
    assert!(guard.followed_an_expired_one());
}
