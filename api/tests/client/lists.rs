//! Lists over several pages.

use crate::place::{Place, seconds};
use dragon_client::Request;
use futures_util::StreamExt as _;

#[tokio::test]
async fn streams_go_over_all_pages_in_order() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    let mut request = Request::new().set("other", &0).unwrap();
    for number in 0..25 {
        let key = format!("k{number:02}");
        request = request.set(&*key, &number).unwrap().add(&*key, number);
    }
    account.transact_once(request).await.unwrap();
    let mut stream = account.values("k").limit(7).stream();
    for number in 0..25 {
        // Pages are asked for again.
        proxy.lose_answers(usize::from(number % 7 == 0));
        let value = stream.next().await.unwrap().unwrap();
        assert_eq!(
            (value.key.clone(), value.json::<u64>().unwrap()),
            (format!("k{number:02}"), Some(number))
        );
    }
    assert!(stream.next().await.is_none());
    let counters = account.counters("k1").limit(3).all().await.unwrap();
    assert_eq!(
        counters.iter().map(|counter| counter.value).collect::<Vec<_>>(),
        (10..20).collect::<Vec<_>>()
    );
    let page = account.values("k").after("k03").limit(2).page().await.unwrap();
    assert_eq!((page.entries[0].key.as_str(), page.entries.len(), page.more), ("k04", 2, true));
    assert!(account.values("none").all().await.unwrap().is_empty());
}

#[tokio::test]
async fn locks_are_listed_with_their_holders() {
    let place = Place::start();
    let account = place.account();
    let mut guards = Vec::new();
    for lock in ["a", "b", "c"] {
        guards.push(
            account.lock(lock).owner(format!("owner of {lock}")).lease(seconds(60)).acquire().await.unwrap(),
        );
    }
    let listed = account.locks("").limit(2).all().await.unwrap();
    assert_eq!(listed.len(), 3);
    for (lock, guard) in listed.iter().zip(&guards) {
        assert_eq!((lock.id.as_str(), lock.lock), (guard.id(), guard.handle()));
        assert_eq!(lock.owner, Some(format!("owner of {}", guard.id())));
    }
}

#[tokio::test]
async fn a_stream_ends_after_an_error() {
    let place = Place::start();
    let mut stream = place.account().values("").limit(0).stream();
    assert!(stream.next().await.unwrap().is_err());
    assert!(stream.next().await.is_none());
}
