//! Lists of what is there.

use crate::place::Outcome;
use dragon_client::{Account, Request};
use futures_util::StreamExt as _;

pub async fn go_by_pages(account: &Account) -> Outcome {
    let keys: Vec<_> = (1..=25).map(|number| format!("page/{number:02}")).collect();
    let mut request = Request::new();
    for key in &keys {
        request = request.set(key, key)?;
    }
    account.transact_once(request).await?;

    let mut listed = Vec::new();
    let mut values = account.values("page/").limit(10).stream();
    while let Some(value) = values.next().await {
        listed.push(value?.key);
    }
    assert_eq!(listed, keys);
    assert_eq!(lengths_of_pages(account).await?, [10, 10, 5]);

    let counters = account.counters("orders").all().await?;
    let counters: Vec<_> = counters.iter().map(|counter| (counter.key.as_str(), counter.value)).collect();
    assert_eq!(counters, [("orders", 120)]);

    let guard = account.lock("listed").owner("me").acquire().await?;
    let locks = account.locks("listed").all().await?;
    let locks: Vec<_> =
        locks.iter().map(|lock| (lock.id.as_str(), lock.lock, lock.owner.as_deref())).collect();
    assert_eq!(locks, [("listed", guard.handle(), Some("me"))]);
    guard.release().await?;
    Ok(())
}

/// How many entries each page has.
async fn lengths_of_pages(account: &Account) -> Outcome<Vec<usize>> {
    let mut list = account.values("page/").limit(10);
    let mut lengths = Vec::new();
    loop {
        let page = list.page().await?;
        lengths.push(page.entries.len());
        match page.entries.last() {
            Some(last) if page.more => list = list.after(&last.key),
            _ => return Ok(lengths),
        }
    }
}
