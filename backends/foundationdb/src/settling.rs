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
    /// Whether it is known to be stored.
    is_there: bool,
}

/// How an attempt that left the outcome open ended.
pub(crate) enum Settled {
    Committed,
    /// It did not happen and never will.
    Undone,
}

impl BatchRecord {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, number: 0, is_there: false }
    }

    /// Gives the transaction the next number. It conflicts with whoever else writes the record.
    pub(crate) async fn number(&mut self, transaction: &Transaction) -> std::result::Result<(), Failure> {
        self.is_there |= transaction.get(&self.key, false).await?.is_some();
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
                Ok(Ok(Ok(Some(settled)))) => return Ok(settled),
                // Where there was never one before, the attempt's would be the first.
                Ok(Ok(Ok(None))) if !self.is_there => return Ok(Settled::Undone),
                Ok(Ok(Ok(None))) => {
                    return Err(BackendError::OutcomeUnknown(format!("{reason}; no trace is left")));
                }
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

/// Reads the stored number; where it is not the attempt's, writes another one. `None`: there was no record, as after a
/// day without a sign of life.
async fn look_and_fence(
    frontend: &Frontend,
    key: &[u8],
    attempted: u64,
    fence: u64,
) -> std::result::Result<Option<Settled>, Failure> {
    let transaction = frontend.begin()?;
    let stored = transaction.get(key, false).await?.map(|bytes| u64_at(&bytes, 0));
    if stored == Some(Some(attempted)) {
        return Ok(Some(Settled::Committed));
    }
    transaction.set(key, &fence.to_be_bytes());
    transaction.commit().await.map_err(|error| Failure::Unavailable(error.to_string()))?;
    Ok(stored.map(|_| Settled::Undone))
}
