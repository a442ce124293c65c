//! The record that numbers one frontend's batches in one lane: written by the same transaction as the batch, it
//! tells what became of a commit whose answer did not come.

use crate::committer::Frontend;
use crate::failure::{Failure, too_long};
use crate::keys::{Key, u64_at};
use dragon_contract::{BackendError, Result};
use foundationdb::Transaction;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long it is tried to learn whether a commit happened: longer than a recovery of the cluster takes.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);
/// How long one try may take.
const TRY_TIME_MAX: Duration = Duration::from_secs(5);
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// The record of one lane, and the number of the last attempt there. Each attempt has a number of its own.
#[derive(Debug)]
pub(crate) struct BatchRecord {
    key: Key,
    number: u64,
}

/// How an attempt that left the outcome open ended.
pub(crate) enum Settled {
    Committed,
    /// It did not happen and never will.
    Undone,
}

impl BatchRecord {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, number: 0 }
    }

    /// Gives the transaction the next number. It conflicts with whoever else writes the record.
    pub(crate) async fn number(&mut self, transaction: &Transaction) -> std::result::Result<(), Failure> {
        transaction.get(&self.key, false).await?;
        self.number += 1;
        transaction.set(&self.key, &self.number.to_be_bytes());
        Ok(())
    }

    /// Learns what became of the last attempt, and sees to it that it stays so: one that is still to come
    /// conflicts with another number in the record.
    pub(crate) async fn settle(&mut self, frontend: &Frontend, reason: &str) -> Result<Settled> {
        let attempted = self.number;
        let deadline = Instant::now() + SETTLE_TIME_MAX;
        tracing::info!(reason, "a commit was not answered: settling it");
        loop {
            // A try whose own commit was not answered is followed by one with another number.
            self.number += 1;
            let looking = timeout(TRY_TIME_MAX, look_and_fence(frontend, &self.key, attempted, self.number));
            match timeout_at(deadline, looking).await {
                Ok(Ok(Ok(settled))) => return Ok(settled),
                Ok(looked) => {
                    let failure = looked.map_or_else(|_| Some(too_long()), std::result::Result::err);
                    tracing::debug!(?failure, "the commit could not be settled yet");
                }
                Err(_) => return Err(BackendError::OutcomeUnknown(reason.into())),
            }
            sleep(SETTLE_PAUSE).await;
        }
    }
}

/// Reads the stored number; where it is not the attempt's, writes another one.
async fn look_and_fence(
    frontend: &Frontend,
    key: &[u8],
    attempted: u64,
    fence: u64,
) -> std::result::Result<Settled, Failure> {
    let transaction = frontend.begin()?;
    let stored = transaction.get(key, false).await?;
    if stored.as_deref().and_then(|bytes| u64_at(bytes, 0)) == Some(attempted) {
        return Ok(Settled::Committed);
    }
    transaction.set(key, &fence.to_be_bytes());
    transaction.commit().await.map_err(|error| Failure::Unavailable(error.to_string()))?;
    Ok(Settled::Undone)
}
