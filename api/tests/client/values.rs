//! Single values and counters.

use crate::place::{Place, account_at, seconds};
use crate::scripted;
use dragon_client::Code;
use tokio::task::JoinSet;

const WRITERS: u64 = 10;
const CHANGES_EACH: u64 = 10;

#[tokio::test]
async fn an_update_under_many_writers_loses_nothing() {
    let place = Place::start();
    let account = place.account();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let account = account.clone();
        writers.spawn(async move {
            for _ in 0..CHANGES_EACH {
                let more = |count: Option<u64>| Some(count.unwrap_or_default() + 1);
                account.update("count", more).await.unwrap().unwrap();
            }
        });
    }
    writers.join_all().await;
    let count = account.get("count").await.unwrap().json::<u64>().unwrap();
    assert_eq!(count, Some(WRITERS * CHANGES_EACH));
}

#[tokio::test]
async fn an_update_whose_answers_are_lost_counts_once() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    for count in 1..=5 {
        // That of the read and that of the write.
        proxy.lose_answers(2);
        let (value, _) =
            account.update("count", |n: Option<u64>| Some(n.unwrap_or_default() + 1)).await.unwrap().unwrap();
        assert_eq!(value, count);
    }
}

#[tokio::test]
async fn an_update_that_others_always_come_before_pauses_ever_longer() {
    let read = Some(("200 OK", r#"{"KV":[{"Key":"k","Version":0}]}"#));
    let conflict = r#"{"Code":"precondition_failed","Message":"m","Key":"k","Version":1}"#;
    let server = scripted::server_in_turns(vec![read, Some(("409 Conflict", conflict))]).await;
    let mut tries = 0;
    let account = account_at(server);
    let updating = account.update("k", |_: Option<u64>| {
        tries += 1;
        Some(tries)
    });
    assert!(tokio::time::timeout(seconds(1), updating).await.is_err());
    assert!((3..20).contains(&tries), "{tries} tries in a second");
}

#[tokio::test]
async fn an_update_may_leave_everything_as_it_is() {
    let place = Place::start();
    let account = place.account();
    assert!(account.update("k", |_: Option<u64>| None).await.unwrap().is_none());
    assert!(!account.get("k").await.unwrap().exists());
}

#[tokio::test]
async fn values_and_counters_are_set_changed_and_removed() {
    let place = Place::start();
    let account = place.account();
    let first = account.set_if_version("k", &vec![1], 0).await.unwrap();
    let second = account.set("k", &vec![1, 2]).await.unwrap();
    assert!(second > first);
    assert_eq!(account.get("k").await.unwrap().json::<Vec<u8>>().unwrap(), Some(vec![1, 2]));
    account.delete("k").await.unwrap();
    assert!(!account.get("k").await.unwrap().exists());
    assert_eq!(account.add("n", 7).await.unwrap(), 7);
    account.compare_and_swap("n", 7, 9).await.unwrap();
    assert_eq!(account.counter("n").await.unwrap(), 9);
    let error = account.compare_and_swap("n", 7, 9).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::PreconditionFailed));
    assert_eq!(account.count(dragon_client::Count::delete("n")).await.unwrap(), 0);
}
