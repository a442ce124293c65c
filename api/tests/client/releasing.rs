//! Giving a lock back together with a last write, when it is not known whether that has happened.

use crate::place::{ACCOUNT, Place, seconds};
use crate::scripted::{self, Reply};
use crate::support::eventually;
use dragon_client::{Account, Client, Code, Error, LockGuard, Lost, Request, RetryPolicy};
use std::net::SocketAddr;
use std::time::Duration;

const GRANT: Reply = Some(("200 OK", r#"{"Lock":7,"Till":9}"#));
const UNAVAILABLE: Reply = Some(("503 Service Unavailable", r#"{"Code":"unavailable","Message":"m"}"#));

/// The account by way of a client that soon gives up.
fn impatient(address: SocketAddr) -> Account {
    let policy = RetryPolicy::lasting(Duration::from_millis(50)).with_pauses(Duration::ZERO, Duration::ZERO);
    let client = Client::builder(&format!("http://{address}")).retry(policy).timeout(seconds(2));
    client.build().unwrap().account(ACCOUNT).unwrap()
}

async fn take(account: &Account) -> LockGuard {
    account.lock("l").lease(seconds(300)).acquire().await.unwrap()
}

fn write() -> Request {
    Request::new().add("n", 1)
}

async fn until_free(place: &Place) {
    let raw = place.raw();
    eventually("the lock is free", || async { raw.held_lock("l").await.is_none().then_some(()) }).await;
}

async fn assert_in_doubt(guard: &LockGuard) {
    assert!(!guard.is_held());
    let lost = guard.lost().await;
    assert!(matches!(lost, Lost::GivingBack), "{lost:?}");
}

#[tokio::test]
async fn a_release_that_is_dropped_leaves_nobody_in_the_belief_to_hold_the_lock() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let mut guard = take(&account).await;
    proxy.hold_answers(true);
    tokio::select! {
        answered = guard.release_with(write()) => panic!("{answered:?}"),
        () = until_free(&place) => {}
    }
    assert_in_doubt(&guard).await;
    proxy.hold_answers(false);
    let error = guard.release_with(write()).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotLocked));
    assert!(matches!(guard.lost().await, Lost::NotLocked), "what became of it is known now");
    assert_eq!(account.counter("n").await.unwrap(), 1);
}

#[tokio::test]
async fn a_release_of_unknown_outcome_may_be_asked_about() {
    let place = Place::start();
    let (proxy, _) = place.by_proxy().await;
    let account = impatient(proxy.address());
    let mut guard = take(&account).await;
    let request = || write().idempotency_id("last");
    proxy.lose_answers(usize::MAX);
    let error = guard.release_with(request()).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted(_)), "{error:?}");
    assert_in_doubt(&guard).await;
    proxy.lose_answers(0);
    let answer = guard.release_with(request()).await.unwrap();
    assert!(answer.is_repeated() && matches!(guard.lost().await, Lost::GivenBack));
    assert_eq!(place.account().counter("n").await.unwrap(), 1);
}

#[tokio::test]
async fn a_lock_whose_release_did_not_get_through_is_given_back_at_the_end() {
    let place = Place::start();
    let (proxy, _) = place.by_proxy().await;
    let mut guard = take(&impatient(proxy.address())).await;
    proxy.swallow_requests(true);
    guard.release_with(write()).await.unwrap_err();
    assert_in_doubt(&guard).await;
    proxy.swallow_requests(false);
    assert!(place.raw().held_lock("l").await.is_some());
    drop(guard);
    until_free(&place).await;
    assert_eq!(place.account().counter("n").await.unwrap(), 0);
}

#[tokio::test]
async fn a_release_that_has_certainly_changed_nothing_leaves_the_lock_held() {
    let mut guard = take(&impatient(scripted::server_that_goes(vec![GRANT]).await)).await;
    let error = guard.release_with(write()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(guard.is_held());
    let error =
        guard.release_with(write().idempotency_ttl(seconds(1) / 2).idempotency_id("i")).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && guard.is_held(), "{error:?}");
}

#[tokio::test]
async fn that_the_last_try_changed_nothing_proves_nothing_about_those_before() {
    let mut guard = take(&impatient(scripted::server(vec![GRANT, None, UNAVAILABLE]).await)).await;
    let error = guard.release_with(write()).await.unwrap_err();
    assert!(error.is_outcome_unknown() && !error.is_retryable(), "{error:?}");
    assert_in_doubt(&guard).await;
    let mut guard = take(&impatient(scripted::server(vec![GRANT, UNAVAILABLE]).await)).await;
    let error = guard.release_with(write()).await.unwrap_err();
    assert!(error.is_retryable() && guard.is_held(), "{error:?}");
}
