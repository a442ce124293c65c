//! Values that several write.

use crate::place::{Outcome, Place, join, refusal};
use dragon_client::{Account, Code, Error};
use tokio::task::JoinSet;

pub async fn handles_a_conflict(first: &Account, second: &Account) -> Outcome {
    let known = first.set("limits", &[0]).await?;
    let current = second.set("limits", &[1]).await?;

    let refused = refusal(first.set_if_version("limits", &[2], known).await)?;
    assert_eq!((refused.status, refused.code), (409, Code::PreconditionFailed));
    assert_eq!((refused.key.as_deref(), refused.version), (Some("limits"), Some(current)));

    add_limit(first, second).await?;
    assert_eq!(first.get("limits").await?.json::<Vec<u32>>()?, Some(vec![1, 3, 2]));
    Ok(())
}

/// Adds a limit, while another adds one of its own after the first has read.
async fn add_limit(account: &Account, other: &Account) -> Outcome {
    let mut tries = 0;
    loop {
        let read = account.get("limits").await?;
        let mut limits: Vec<u32> = read.json()?.unwrap_or_default();
        tries += 1;
        if tries == 1 {
            append(other, "limits", 3).await?;
        }
        limits.push(2);
        match account.set_if_version("limits", &limits, read.version).await {
            Ok(_) => break,
            // Another one was faster: read again.
            Err(error) if error.code() == Some(&Code::PreconditionFailed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(tries, 2);
    Ok(())
}

/// Appends to the list that this value is, and gives the value's version.
async fn append(account: &Account, key: &str, entry: u32) -> Result<Option<u64>, Error> {
    let longer = |list: Option<Vec<u32>>| {
        let mut list = list.unwrap_or_default();
        list.push(entry);
        Some(list)
    };
    let updated = account.update(key, longer).await?;
    Ok(updated.map(|(_, version)| version))
}

pub async fn loses_no_append(place: &Place) -> Outcome {
    let mut tasks = JoinSet::new();
    for entry in 0..8 {
        let account = place.account()?;
        tasks.spawn(async move { append(&account, "entries", entry).await });
    }
    let versions = join(tasks).await?;
    let entries = place.account()?.get("entries").await?;
    assert_eq!(versions.into_iter().max(), Some(Some(entries.version)));
    let mut entries: Vec<u32> = entries.json()?.ok_or("no entries")?;
    entries.sort_unstable();
    assert!(entries.into_iter().eq(0..8));
    Ok(())
}
