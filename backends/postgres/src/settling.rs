//! The row that numbers one frontend's batches in one lane: written by the same transaction as the batch,
//! it tells what became of a commit whose answer did not come.

use crate::failure::Failure;
use crate::lane_lock::LaneLock;
use crate::rows::{Lane, Written};
use crate::session::Sessions;
use bytes::Bytes;
use dragon_contract::{BackendError, Result};
use dragon_core::cell::Cell;
use sqlx::{Connection as _, PgConnection, Row as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long it is tried to learn whether a commit happened: longer than a restart of the database takes.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// What a batch row is known to hold.
#[derive(Debug)]
pub(crate) struct BatchRow {
    frontend: Arc<str>,
    lane: Lane,
    sequence: i64,
}

/// What became of a call to commit that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Committed,
    /// An account is not as it was seen: nothing has happened.
    Changed,
    /// The batch row holds another number than it was known to: nothing has happened.
    Superseded,
}

/// How an attempt that left the outcome open ended.
pub(crate) enum Settled {
    Committed,
    /// It did not happen and never will.
    Undone,
}

impl BatchRow {
    pub(crate) fn new(frontend: Arc<str>, lane: Lane) -> Self {
        Self { frontend, lane, sequence: 0 }
    }

    /// Sees to it that the row is there and holds the number that it is known to hold: the transaction that
    /// numbers it must find it. An attempt that is still open expects another one.
    pub(crate) async fn enrol(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        const ENROL: &str = "INSERT INTO batch (lane, frontend, sequence) VALUES ($1, $2::uuid, $3) \
            ON CONFLICT (frontend, lane) DO UPDATE SET sequence = excluded.sequence";
        let enrol =
            sqlx::query(ENROL).bind(self.lane.number).bind(self.frontend.as_ref()).bind(self.sequence);
        enrol.execute(connection).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        const DELETE: &str = "DELETE FROM batch WHERE lane = $1 AND frontend = $2::uuid";
        sqlx::query(DELETE).bind(self.lane.number).bind(self.frontend.as_ref()).execute(connection).await?;
        Ok(())
    }

    /// Commits a batch under the next number, if the accounts are still as they were seen.
    pub(crate) async fn commit(
        &self,
        connection: &mut PgConnection,
        lock: Option<LaneLock>,
        accounts: &[(Cell, Option<Bytes>)],
        written: &Written<'_>,
    ) -> std::result::Result<Answered, Failure> {
        let names: Vec<&[u8]> = accounts.iter().map(|(cell, _)| cell.as_bytes().as_ref()).collect();
        let seen: Vec<Option<&[u8]>> = accounts.iter().map(|(_, row)| row.as_deref()).collect();
        let call = sqlx::query(self.lane.commit)
            .bind(lock.map(|lock| lock.class))
            .bind(lock.map(|lock| lock.number))
            .bind(names)
            .bind(seen)
            .bind(&written.kept)
            .bind(&written.contents)
            .bind(&written.sweeps_at_ms)
            .bind(&written.deleted)
            .bind(self.frontend.as_ref())
            .bind(self.sequence)
            .bind(self.sequence + 1);
        // All rows, of which there is one: asked for one, the driver would make another round trip.
        let rows = call.fetch_all(connection).await?;
        match rows.first().map(|row| row.try_get::<i32, _>(0)).transpose()? {
            Some(1) => Ok(Answered::Committed),
            Some(2) => Ok(Answered::Changed),
            // Swept, after a day without a sign of life, or an older attempt came late: the next connection
            // makes it anew.
            _ => Ok(Answered::Superseded),
        }
    }

    /// Notes that the last attempt was committed.
    pub(crate) fn committed(&mut self) {
        self.sequence += 1;
    }

    /// Learns what became of the last attempt, and sees to it that it stays so: a transaction that still
    /// lives holds the row locked, and one that is still to come finds another number than it expects.
    pub(crate) async fn settle(&mut self, sessions: &Sessions, reason: &str) -> Result<Settled> {
        let (before, attempted, fenced) = (self.sequence, self.sequence + 1, self.sequence + 2);
        let deadline = Instant::now() + SETTLE_TIME_MAX;
        tracing::info!(lane = self.lane.number, reason, "a commit was not answered: settling it");
        loop {
            match timeout_at(deadline, self.look_and_fence(sessions, before, fenced)).await {
                Ok(Ok(Some(stored))) if stored == attempted => {
                    self.sequence = attempted;
                    return Ok(Settled::Committed);
                }
                Ok(Ok(Some(_))) => {
                    self.sequence = fenced;
                    return Ok(Settled::Undone);
                }
                Ok(Ok(None)) => {
                    self.sequence = fenced;
                    return Err(BackendError::OutcomeUnknown(format!("{reason}; no trace is left")));
                }
                Ok(Err(error)) => tracing::debug!(%error, "the commit could not be settled yet"),
                Err(_) => {
                    // The attempt may still come, and must not find the number that it expects, nor leave one
                    // by which a later attempt would be taken for committed.
                    self.sequence = fenced;
                    return Err(BackendError::OutcomeUnknown(reason.into()));
                }
            }
            sleep(SETTLE_PAUSE).await;
        }
    }

    /// Reads the stored number; where the attempt has not happened, raises it.
    async fn look_and_fence(
        &self,
        sessions: &Sessions,
        before: i64,
        fenced: i64,
    ) -> sqlx::Result<Option<i64>> {
        const LOOK: &str = "SELECT sequence FROM batch WHERE lane = $1 AND frontend = $2::uuid FOR UPDATE";
        const FENCE: &str = "UPDATE batch SET sequence = $3 WHERE lane = $1 AND frontend = $2::uuid";
        let mut connection = sessions.connect().await?;
        let mut transaction = connection.begin().await?;
        let look = sqlx::query_scalar(LOOK).bind(self.lane.number).bind(self.frontend.as_ref());
        let stored: Option<i64> = look.fetch_optional(&mut *transaction).await?;
        if stored == Some(before) {
            let fence = sqlx::query(FENCE).bind(self.lane.number).bind(self.frontend.as_ref()).bind(fenced);
            fence.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(stored)
    }
}
