//! Durations that make no sense: an error, or as long as it takes; never a panic.

use crate::place::{ACCOUNT, Place, seconds};
use crate::scripted;
use dragon_client::{Client, Code, Error, Request, RetryPolicy};
use std::time::{Duration, Instant};

const MANY: [Duration; 4] = [
    Duration::MAX,
    Duration::from_secs(u64::MAX),
    Duration::from_secs(u64::MAX - 1_000),
    Duration::from_secs(u64::MAX / 1_000),
];

#[tokio::test]
async fn leases_that_no_server_grants_are_errors() {
    let place = Place::start();
    for lease in MANY.into_iter().chain([Duration::ZERO]) {
        let error = place.account().lock("l").lease(lease).acquire().await.unwrap_err();
        let is_refused = error.code() == Some(&Code::InvalidRequest);
        assert!(is_refused || matches!(error, Error::Invalid(_)), "{lease:?}: {error:?}");
        let request = Request::new().lock("l", lease).lock_wait(lease).idempotency_ttl(lease);
        place.account().transact_once(request).await.unwrap_err();
    }
    assert!(place.raw().held_lock("l").await.is_none());
}

#[tokio::test]
async fn a_lease_that_a_server_grants_all_the_same_lasts() {
    let account =
        crate::place::account_at(scripted::server(vec![Some(("200 OK", r#"{"Lock":7,"Till":9}"#))]).await);
    for lease in &MANY[2..] {
        let guard = account.lock("l").lease(*lease).acquire().await.unwrap();
        assert!(guard.is_held() && guard.held_until() > Instant::now() + seconds(365 * 86_400));
        tokio::time::timeout(seconds(1) / 20, guard.lost()).await.unwrap_err();
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn waits_and_timeouts_may_be_as_long_as_one_likes() {
    let place = Place::start();
    let url = format!("http://{}", place.server.address());
    for time in MANY {
        let client = Client::builder(&url).timeout(time).connect_timeout(time);
        let client = client.retry(RetryPolicy::lasting(time).with_long_wait(time)).build().unwrap();
        let account = client.account(ACCOUNT).unwrap();
        let lock = account.lock("l").wait(time);
        if time.subsec_nanos() > 0 {
            lock.acquire().await.unwrap_err();
            continue;
        }
        let guard = lock.clone().acquire().await.unwrap();
        let waiting = lock.acquire_unless(place.raw().until_waiting("l", 1)).await;
        waiting.unwrap().unwrap_err();
        guard.release().await.unwrap();
        assert_eq!(
            account.watch("k").wait(time).changed().await.unwrap_err().code(),
            Some(&Code::InvalidRequest)
        );
    }
}
