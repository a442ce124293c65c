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

/// What a batch's record is known to hold; 0 = there is none.
#[derive(Debug)]
pub(crate) struct BatchRecord {
    key: Key,
    sequence: u64,
}

/// How an attempt that left the outcome open ended.
pub(crate) enum Settled {
    Committed,
    /// It did not happen and never will.
    Undone,
}

impl BatchRecord {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, sequence: 0 }
    }

    /// Sees to it that the transaction commits only while the record holds the number that it is known to
    /// hold, and then raises it.
    pub(crate) async fn number(&self, transaction: &Transaction) -> std::result::Result<(), Failure> {
        if self.stored(transaction).await? != self.sequence {
            return Err(Failure::Unavailable("the record of this frontend's batches has vanished".into()));
        }
        transaction.set(&self.key, &(self.sequence + 1).to_be_bytes());
        Ok(())
    }

    async fn stored(&self, transaction: &Transaction) -> std::result::Result<u64, Failure> {
        let stored = transaction.get(&self.key, false).await?;
        Ok(stored.as_deref().and_then(|bytes| u64_at(bytes, 0)).unwrap_or(0))
    }

    /// Notes that the last attempt was committed.
    pub(crate) fn committed(&mut self) {
        self.sequence += 1;
    }

    /// Learns what became of the last attempt, and sees to it that it stays so: one that is still to come
    /// conflicts with the raised number.
    pub(crate) async fn settle(&mut self, frontend: &Frontend, reason: &str) -> Result<Settled> {
        let (before, attempted, fenced) = (self.sequence, self.sequence + 1, self.sequence + 2);
        let deadline = Instant::now() + SETTLE_TIME_MAX;
        tracing::info!(reason, "a commit was not answered: settling it");
        loop {
            let looking = timeout(TRY_TIME_MAX, self.look_and_fence(frontend, before, fenced));
            match timeout_at(deadline, looking).await {
                Ok(Ok(Ok(stored))) => {
                    if stored == attempted {
                        self.sequence = attempted;
                        return Ok(Settled::Committed);
                    }
                    if stored == fenced {
                        self.sequence = fenced;
                        return Ok(Settled::Undone);
                    }
                    // Swept, after a day without a sign of life.
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

    /// Reads the stored number; where the attempt has not happened, raises it. A try that fails is looked at
    /// again: then the number tells whether it happened.
    async fn look_and_fence(
        &self,
        frontend: &Frontend,
        before: u64,
        fenced: u64,
    ) -> std::result::Result<u64, Failure> {
        let transaction = frontend.begin()?;
        let stored = self.stored(&transaction).await?;
        if stored != before {
            return Ok(stored);
        }
        transaction.set(&self.key, &fenced.to_be_bytes());
        transaction.commit().await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        Ok(fenced)
    }
}
