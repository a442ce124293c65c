//! Something between the client and the server that lets no request wait for long.

use crate::place::{Place, seconds};
use crate::proxy::Proxy;
use crate::support::eventually;
use dragon_client::RetryPolicy;
use std::time::Duration;

/// After how long requests are cut.
const CUT_AFTER: Duration = Duration::from_millis(300);
/// More than would fit into the time after which the client gives up.
const CUTS: usize = 6;

fn policy() -> RetryPolicy {
    let pause = Duration::from_millis(5);
    RetryPolicy::lasting(CUT_AFTER * 2).with_pauses(pause, pause).with_long_wait(CUT_AFTER * 2 / 3)
}

async fn until_cut(proxy: &Proxy) {
    let cuts = proxy.cuts() + CUTS;
    eventually("the requests are cut", async || (proxy.cuts() >= cuts).then_some(())).await;
}

#[tokio::test]
async fn a_watch_whose_requests_are_all_cut_goes_on() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy_with(policy()).await;
    proxy.cut_requests_after(CUT_AFTER);
    let watching = tokio::spawn(async move { account.watch("k").changed().await });
    until_cut(&proxy).await;
    let version = place.account().set("k", &1).await.unwrap();
    assert_eq!(watching.await.unwrap().unwrap().version, version);
}

#[tokio::test]
async fn a_wait_for_a_lock_whose_requests_are_all_cut_goes_on() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy_with(policy()).await;
    let handle = place.raw().lock("l", 300).await;
    proxy.cut_requests_after(CUT_AFTER);
    let waiting = tokio::spawn(account.lock("l").lease(seconds(60)).wait(seconds(120)).acquire());
    until_cut(&proxy).await;
    place.raw().unlock("l", handle).await;
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_watch_is_given_up_when_nobody_answers() {
    let mut place = Place::start();
    let (proxy, account) = place.by_proxy_with(policy()).await;
    let watching = tokio::spawn(async move { account.watch("k").changed().await });
    proxy.cut();
    place.server.kill();
    assert!(watching.await.unwrap().unwrap_err().is_outcome_unknown());
}
