//! Values that are told when they change.

use crate::place::Outcome;
use dragon_client::{Account, Error};
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::time::timeout;

const LAST: u32 = 50;

pub async fn follows(watcher: &Account, writer: &Account) -> Outcome {
    let writing = tokio::spawn(write_often(writer.clone()));
    let mut changes = watcher.watch("watched").stream();
    let mut version = 0;
    while let Some(change) = changes.next().await {
        let change = change?;
        assert!(change.version > version);
        version = change.version;
        if change.json::<u32>()? == Some(LAST) {
            break;
        }
    }
    assert_eq!(writing.await??, version);

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
