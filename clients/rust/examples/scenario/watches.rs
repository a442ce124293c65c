//! Values that are told when they change.

use crate::place::Outcome;
use dragon_client::{Account, Error};
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::time::timeout;

const LAST: u32 = 50;

pub async fn follows(watcher: &Account, writer: &Account) -> Outcome {
    let writing = tokio::spawn(write_often(writer.clone()));
    let mut versions = Vec::new();
    let mut changes = watcher.watch("watched").stream();
    while let Some(change) = changes.next().await {
        let change = change?;
        // Here is what the change is good for.
        versions.push(change.version);
        // None: deleted.
        let number: Option<u32> = change.json()?;
        if number == Some(LAST) {
            break;
        }
    }
    assert!(versions.is_sorted_by(|earlier, later| earlier < later));
    let version = writing.await??;
    assert_eq!(versions.last(), Some(&version));

    sees_the_end(watcher, writer, version).await
}

async fn write_often(writer: Account) -> Result<u64, Error> {
    let mut version = 0;
    for number in 1..=LAST {
        version = writer.set("watched", &number).await?;
    }
    Ok(version)
}

async fn sees_the_end(watcher: &Account, writer: &Account, version: u64) -> Outcome {
    let mut watch = watcher.watch("watched").after(version).wait(Duration::from_secs(1));
    // Longer than one request: the server has said that nothing has changed, and is asked again.
    assert!(timeout(Duration::from_millis(1_500), watch.changed()).await.is_err());

    writer.delete("watched").await?;
    let change = watch.changed().await?;
    assert!(!change.exists() && change.value.is_none());
    assert_eq!(watch.version(), 0);
    Ok(())
}
