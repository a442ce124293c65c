//! Who takes backups, and when. One frontend of a store at a time does it, by a lock in the servers' own account; what
//! came of the last one is noted there too, so that every frontend knows when the next is due.

use crate::BackupError;
use crate::bucket::Bucket;
use crate::cipher::Recipient;
use crate::manifest::Manifest;
use crate::metrics::BackupMetrics;
use crate::prune::{Keep, prune, sweep};
use crate::take::Taking;
use dragon_contract::jittered;
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::limits::LOCK_WAIT_S_MAX;
use dragon_core::request::Draft;
use dragon_transfer::{NoteAnswer, SystemLock, ask_system, read_note, write_note};
use dragon_waiters::{Failure, Frontend};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// The name of the lock, and what those of notes begin with: one for each place.
const NAME: &str = "backup";
/// How often to look for what no backup has any more.
const SWEEP_EVERY_MS: UnixMs = 86_400_000;
/// How soon it is tried again after one failure; each further one doubles it.
const RETRY_AFTER: Duration = Duration::from_secs(10);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// How much of a failure is noted.
const ERROR_CHARS_MAX: usize = 500;
/// How soon to look again when the store could not be asked.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// How often the log tells that a backup is under way.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What is known of a store's backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The last backup that was taken.
    pub last: Option<Last>,
    /// How many times in a row it has failed since then.
    pub failures: u32,
    /// The last failure, if there was one since then.
    pub error: Option<String>,
    /// When that was.
    pub failed_ms: UnixMs,
    /// When it was last looked for what no backup has any more.
    #[serde(default)]
    pub swept_ms: UnixMs,
}

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub time_ms: UnixMs,
}

impl Status {
    /// When the next one is due.
    fn due_ms(&self, every: Duration) -> UnixMs {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if self.failures == 0 {
            return self.last.as_ref().map_or(0, |last| last.time_ms.saturating_add(millis(every)));
        }
        let doubled = RETRY_AFTER.saturating_mul(1 << (self.failures - 1).min(16));
        self.failed_ms.saturating_add(millis(doubled.min(RETRY_AFTER_MAX).min(every)))
    }
}

type Answer = NoteAnswer<Status>;

/// Takes the backups of a store.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// The store.
    pub frontend: Frontend,
    /// Where they go.
    pub bucket: Bucket,
    /// To whom they are encrypted; to nobody when there are none.
    pub recipients: Vec<Recipient>,
    /// Whether it takes its time, for the sake of requests that are answered meanwhile.
    pub is_gentle: bool,
    /// Which are kept.
    pub keep: Keep,
    /// What is counted.
    pub metrics: BackupMetrics,
}

impl Keeper {
    /// What is known.
    ///
    /// # Errors
    /// The store's.
    pub async fn status(&self) -> Result<Status, Failure> {
        Ok(self.look().await?.1)
    }

    fn note(&self) -> String {
        format!("{NAME}/{}", self.bucket.location())
    }

    fn read(&self) -> Draft {
        read_note(self.note())
    }

    /// What `/metrics` tells of the last one.
    fn show(&self, status: &Status) {
        let last_s = status.last.as_ref().map_or(0, |last| last.time_ms / 1_000);
        self.metrics.last_success_s.set(last_s.cast_signed());
    }

    async fn look(&self) -> Result<(u64, Status), Failure> {
        let (version, status) = ask_system::<Answer>(&self.frontend, self.read()).await?.note();
        let status = status.unwrap_or_default();
        self.show(&status);
        Ok((version, status))
    }

    /// Takes one now.
    ///
    /// # Errors
    /// [`BackupError`]; there is no new backup then.
    pub async fn take_now(&self) -> Result<Manifest, BackupError> {
        let taken = SystemLock::take::<Answer>(&self.frontend, NAME.into(), 0, self.read()).await?;
        let (lock, answer) = taken.ok_or(BackupError::UnderWay)?;
        self.take_under(lock, answer.note().1.unwrap_or_default()).await
    }

    /// Takes one as often as this, and again soon where one fails, until the server goes down.
    pub async fn keep_at_it(&self, every: Duration) {
        loop {
            match self.wait_and_take(every).await {
                Ok(()) => {}
                Err(Failure::Draining) => return,
                Err(error) => {
                    tracing::warn!(%error, "the schedule of backups can't be looked up; it is tried again");
                    tokio::time::sleep(jittered(LOOK_AFTER)).await;
                }
            }
        }
    }

    async fn wait_and_take(&self, every: Duration) -> Result<(), Failure> {
        let (version, status) = self.look().await?;
        let now_ms = self.frontend.backend().health().await?.now_ms;
        let wait_ms = status.due_ms(every).saturating_sub(now_ms);
        if wait_ms > 0 {
            // What another frontend does to it moves the time.
            let account = Account::system();
            let note = Cell::new(&account, Kind::Value, &self.note());
            self.frontend.watch(&note, &account, version, Duration::from_millis(wait_ms)).await?;
            return Ok(());
        }
        let taken =
            SystemLock::take::<Answer>(&self.frontend, NAME.into(), LOCK_WAIT_S_MAX, self.read()).await?;
        let Some((lock, answer)) = taken else { return Ok(()) };
        let status = answer.note().1.unwrap_or_default();
        let now_ms = self.frontend.backend().health().await?.now_ms;
        if status.due_ms(every) > now_ms {
            // Another frontend has taken it meanwhile.
            return lock.release(Draft::default()).await;
        }
        match self.take_under(lock, status).await {
            Ok(manifest) => tracing::info!(id = manifest.id, "a backup was taken"),
            Err(error) => tracing::warn!(%error, "a backup could not be taken; it is tried again"),
        }
        Ok(())
    }

    /// Takes one, deletes what is not to be kept, and notes what came of it.
    async fn take_under(&self, lock: SystemLock, mut status: Status) -> Result<Manifest, BackupError> {
        self.metrics.is_running.set(1);
        let taken = tokio::select! {
            taken = self.take_and_prune(&lock, &mut status) => taken,
            () = lock.lost() => Err(BackupError::LostLock),
            never = tell_that_it_goes_on() => match never {},
        };
        self.metrics.is_running.set(0);
        match &taken {
            Ok(manifest) => {
                self.metrics.taken.inc();
                let last = Last { id: manifest.id.clone(), time_ms: manifest.time_ms };
                status = Status { last: Some(last), swept_ms: status.swept_ms, ..Status::default() };
                self.show(&status);
            }
            Err(error) => {
                self.metrics.failures.inc();
                status.failures = status.failures.saturating_add(1);
                status.error = Some(error.to_string().chars().take(ERROR_CHARS_MAX).collect());
                // Where the store can't tell, it can't be noted either.
                let health = self.frontend.backend().health().await;
                status.failed_ms = health.map_or(status.failed_ms, |health| health.now_ms);
            }
        }
        let note = write_note(self.note(), &status)?;
        let noted = lock.release(Draft { kv_set: vec![note], ..Draft::default() }).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "what came of a backup could not be noted: another one may follow soon");
        }
        taken
    }

    async fn take_and_prune(&self, lock: &SystemLock, status: &mut Status) -> Result<Manifest, BackupError> {
        let taking = Taking {
            frontend: &self.frontend,
            bucket: &self.bucket,
            recipients: &self.recipients,
            is_gentle: self.is_gentle,
            lock,
            last: status.last.as_ref().map(|last| last.id.as_str()),
        };
        let taken = taking.take().await;
        if let Err(error) = self.clear(&taken, status).await {
            self.metrics.prune_failures.inc();
            tracing::warn!(%error, "what is not to be kept could not be deleted");
        }
        let (manifest, uploaded_bytes) = taken?;
        self.metrics.uploaded_bytes.inc_by(uploaded_bytes);
        Ok(manifest)
    }

    /// Deletes what is not to be kept; what failed backups leave too.
    async fn clear(
        &self,
        taken: &Result<(Manifest, u64), BackupError>,
        status: &mut Status,
    ) -> Result<(), BackupError> {
        let mut going = 0;
        if let Ok((manifest, _)) = taken {
            going = prune(&self.bucket, self.keep, &manifest.store_id, manifest.time_ms).await?;
            tracing::debug!(going, "backups that are not to be kept were deleted");
        }
        let now_ms = self.frontend.backend().health().await?.now_ms;
        if going > 0 || now_ms >= status.swept_ms.saturating_add(SWEEP_EVERY_MS) {
            sweep(&self.bucket).await?;
            status.swept_ms = now_ms;
        }
        Ok(())
    }
}

/// On a machine that has nothing left over a backup hardly gets on, and nothing else would tell.
async fn tell_that_it_goes_on() -> Infallible {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        tracing::info!(since_s = begun.elapsed().as_secs(), "a backup is under way");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_retried_soon_and_then_less_often() {
        let every = Duration::from_secs(3_600);
        let status = |failures| Status { failures, failed_ms: 1_000, ..Status::default() };
        let after_s = |failures| (status(failures).due_ms(every) - 1_000) / 1_000;
        assert_eq!([1, 2, 3, 4].map(after_s), [10, 20, 40, 80]);
        assert_eq!([7, 60, u32::MAX].map(after_s), [600, 600, 600]);
        assert_eq!(status(9).due_ms(Duration::from_secs(30)), 31_000);
        assert_eq!(Status::default().due_ms(every), 0);
        let taken = Status { last: Some(Last { id: "x".into(), time_ms: 5 }), ..Status::default() };
        assert_eq!(taken.due_ms(every), 3_600_005);
    }
}
