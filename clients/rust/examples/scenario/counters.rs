//! Counters.

use crate::place::{Outcome, Place, join, refusal};
use dragon_client::Code;
use tokio::task::JoinSet;

pub async fn counts(place: &Place) -> Outcome {
    let accounts = [place.account()?, place.account()?, place.account()?];
    let mut tasks = JoinSet::new();
    for turn in 0..10 {
        let account = accounts[turn % accounts.len()].clone();
        tasks.spawn(async move { account.add("orders", 1).await });
    }
    let mut numbers = join(tasks).await?;
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=10));

    let [account, ..] = accounts;
    // A hundred numbers at a time, for this client alone.
    let last = account.add("orders", 100).await?;
    let numbers = last - 99..=last;
    assert!(numbers.eq(11..=110));

    account.compare_and_swap("orders", 110, 120).await?;
    let refused = refusal(account.compare_and_swap("orders", 110, 130).await)?;
    assert_eq!((refused.code, refused.value), (Code::PreconditionFailed, Some(120)));
    assert_eq!(account.counter("orders").await?, 120);
    Ok(())
}
