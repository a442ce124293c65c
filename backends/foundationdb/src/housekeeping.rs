//! What a frontend does once a second, in one transaction: it raises the clock's mark, gives a sign of life,
//! sees who else is there, and tries to become the one that sweeps.

use crate::clock::{Mark, Pace, wall_ms};
use crate::committer::Frontend;
use crate::failure::{Failure, too_long};
use crate::keys::u64_at;
use crate::snapshots;
use dragon_contract::jittered;
use dragon_core::UnixMs;
use foundationdb::options::MutationType;
use foundationdb::{RangeOption, Transaction};
use futures_util::TryStreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(9);
/// Milliseconds without a sign of life after which a frontend counts as gone, and its right to sweep ends.
const GONE_AFTER_MS: UnixMs = 5_000;
/// How long a frontend that is gone may still come back and ask what became of its last batch.
const FORGOTTEN_AFTER_MS: UnixMs = 86_400_000;
/// Looks between two chores that need not be done each second.
const CHORES_EVERY: u64 = 15;
/// Tries of one look: frontends conflict here, when they look in the same moment.
const TRIES: usize = 20;
/// Longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// A mark as old as this when a frontend starts was raised by nobody for a while.
const PAUSE_NOTICED: Duration = Duration::from_secs(5);
/// How long others who may be alive get to raise it.
const OTHERS_WAITED_FOR: Duration = Duration::from_secs(3);

/// What the looks find out. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    has_peers: AtomicBool,
    is_sweeper: AtomicBool,
}

impl Findings {
    /// Whether other frontends serve this store.
    pub(crate) fn has_peers(&self) -> bool {
        self.0.has_peers.load(Ordering::SeqCst)
    }

    /// Whether this frontend is the one that sweeps.
    pub(crate) fn is_sweeper(&self) -> bool {
        self.0.is_sweeper.load(Ordering::SeqCst)
    }
}

pub(crate) struct Housekeeper {
    frontend: Frontend,
    findings: Findings,
    looks: u64,
}

impl Housekeeper {
    pub(crate) fn new(frontend: Frontend, findings: Findings) -> Self {
        Self { frontend, findings, looks: 0 }
    }

    /// Looks once a second, until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(failure) = self.look_once().await {
                tracing::debug!(?failure, "the regular look failed");
                self.note_sweeper(false);
            }
        }
    }

    /// One look. The first one makes the frontend known and its clock run.
    pub(crate) async fn look_once(&mut self) -> Result<(), Failure> {
        let is_first = self.looks == 0;
        let looking = async {
            if is_first {
                self.catch_up().await?;
            }
            for _ in 1..TRIES {
                match self.look().await {
                    Err(Failure::Conflict(_)) => sleep(jittered(PAUSE_MAX)).await,
                    looked => return looked,
                }
            }
            self.look().await
        };
        timeout(LOOK_TIME_MAX, looking).await.unwrap_or_else(|_| Err(too_long()))?;
        if self.looks.is_multiple_of(CHORES_EVERY) && self.findings.is_sweeper() {
            let forgetting = timeout(LOOK_TIME_MAX, self.forget_frontends());
            if let Ok(Err(failure)) = forgetting.await {
                tracing::debug!(?failure, "frontends that are gone could not be forgotten");
            }
            let ending = timeout(LOOK_TIME_MAX, snapshots::end_abandoned(&self.frontend));
            if let Ok(Err(error)) = ending.await {
                tracing::debug!(%error, "abandoned snapshots could not be ended");
            }
        }
        self.looks += 1;
        Ok(())
    }

    /// Raises a mark that nobody has raised while no frontend ran: otherwise the time would have stood still.
    async fn catch_up(&self) -> Result<(), Failure> {
        let transaction = self.frontend.begin()?;
        let Some(before) = self.mark(&transaction).await? else { return Ok(()) };
        if before.age(transaction.get_read_version().await?.unsigned_abs()) < PAUSE_NOTICED {
            return Ok(());
        }
        // Or the cluster has recovered just now, and someone is about to raise it.
        sleep(OTHERS_WAITED_FOR).await;
        let transaction = self.frontend.begin()?;
        if self.mark(&transaction).await? != Some(before) {
            return Ok(());
        }
        let version = transaction.get_read_version().await?.unsigned_abs();
        let now_ms = before.after_a_pause(version, wall_ms());
        self.write_mark(&transaction, now_ms, Pace::Even);
        match transaction.commit().await {
            Ok(_) => tracing::info!(now_ms, "the store's time goes on, having stood still"),
            // Someone else did.
            Err(error) => tracing::debug!(%error, "the store's time was not moved here"),
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), Failure> {
        let Frontend { keys, clock, metrics, .. } = &self.frontend;
        let transaction = self.frontend.begin()?;
        let (mark, sweeper, seen) = futures_util::try_join!(
            self.mark(&transaction),
            self.sweeper(&transaction),
            self.seen(&transaction),
        )?;
        let own_ms = match mark {
            Some(mark) => clock.now_ms().max(mark.ms),
            None => wall_ms(),
        };
        let sweeps = sweeper.is_none_or(|(id, until_ms)| id == self.frontend.id || until_ms <= own_ms);
        let pace = match mark {
            Some(mark) if !sweeps => mark.pace,
            _ => Pace::towards(wall_ms(), own_ms),
        };
        self.write_mark(&transaction, own_ms, pace);
        transaction.set(&keys.frontend(self.frontend.id), &own_ms.to_be_bytes());
        if sweeps {
            let until_ms = own_ms + GONE_AFTER_MS;
            let value = [self.frontend.id.as_bytes().as_slice(), &until_ms.to_be_bytes()].concat();
            transaction.set(&keys.sweeper(), &value);
        }
        let committed = transaction.commit().await?;
        let version = committed.committed_version()?.unsigned_abs();
        let marked_ms = mark.map_or(own_ms, |mark| mark.at(version)).max(own_ms);
        clock.take_in(marked_ms, pace);
        let peers = seen.iter().filter(|(id, seen_ms)| {
            *id != self.frontend.id && seen_ms.saturating_add(GONE_AFTER_MS) > own_ms
        });
        let peers = peers.count();
        self.findings.0.has_peers.store(peers > 0, Ordering::SeqCst);
        metrics.other_frontends.set(peers as i64);
        metrics.clock_seconds_ahead.set((clock.now_ms() as f64 - wall_ms() as f64) / 1_000.0);
        self.note_sweeper(sweeps);
        Ok(())
    }

    /// Forgets frontends that have given no sign of life for a day. The record of a batch is never deleted while
    /// its frontend may still ask for it.
    async fn forget_frontends(&self) -> Result<(), Failure> {
        let Frontend { keys, clock, .. } = &self.frontend;
        let transaction = self.frontend.begin()?;
        let mut seen = self.seen(&transaction).await?;
        seen.retain(|(_, seen_ms)| seen_ms.saturating_add(FORGOTTEN_AFTER_MS) < clock.now_ms());
        if seen.is_empty() {
            return Ok(());
        }
        for (id, _) in seen {
            // One that is heard of in this very moment stays.
            transaction.get(&keys.frontend(id), false).await?;
            clear_frontend(&self.frontend, &transaction, id);
        }
        transaction.commit().await?;
        Ok(())
    }

    fn note_sweeper(&self, is_sweeper: bool) {
        self.findings.0.is_sweeper.store(is_sweeper, Ordering::SeqCst);
        self.frontend.metrics.is_sweeper.set(is_sweeper.into());
    }

    fn write_mark(&self, transaction: &Transaction, ms: UnixMs, pace: Pace) {
        // The commit's versionstamp takes the place of the ten bytes; where they are stands behind them.
        let value = [ms.to_be_bytes().as_slice(), &[pace as u8], &[0; 10], &9_u32.to_le_bytes()].concat();
        transaction.atomic_op(&self.frontend.keys.clock(), &value, MutationType::SetVersionstampedValue);
    }

    async fn mark(&self, transaction: &Transaction) -> Result<Option<Mark>, Failure> {
        let stored = transaction.get(&self.frontend.keys.clock(), false).await?;
        let mark = |bytes: &[u8]| {
            let pace = Pace::from_byte(*bytes.get(8)?);
            Some(Mark { ms: u64_at(bytes, 0)?, pace, version: u64_at(bytes, 9)? })
        };
        Ok(stored.as_deref().and_then(mark))
    }

    async fn sweeper(&self, transaction: &Transaction) -> Result<Option<(Uuid, UnixMs)>, Failure> {
        let stored = transaction.get(&self.frontend.keys.sweeper(), false).await?;
        let sweeper = |bytes: &[u8]| Some((Uuid::from_slice(bytes.get(..16)?).ok()?, u64_at(bytes, 16)?));
        Ok(stored.as_deref().and_then(sweeper))
    }

    /// When each frontend was last heard of.
    async fn seen(&self, transaction: &Transaction) -> Result<Vec<(Uuid, UnixMs)>, Failure> {
        let keys = &self.frontend.keys;
        let mut known = transaction.get_ranges_keyvalues(RangeOption::from(keys.frontends()), true);
        let mut seen = Vec::new();
        while let Some(known) = known.try_next().await? {
            seen.extend(keys.frontend_of(known.key()).zip(u64_at(known.value(), 0)));
        }
        Ok(seen)
    }
}

/// Takes away what this frontend has left, its right to sweep included.
pub(crate) async fn leave(frontend: &Frontend, was_sweeper: bool) -> Result<(), Failure> {
    let transaction = frontend.begin()?;
    clear_frontend(frontend, &transaction, frontend.id);
    if was_sweeper {
        transaction.clear(&frontend.keys.sweeper());
    }
    transaction.commit().await?;
    Ok(())
}

/// What a frontend has written of itself.
fn clear_frontend(frontend: &Frontend, transaction: &Transaction, id: Uuid) {
    let batches = frontend.keys.batches(id);
    transaction.clear_range(&batches.start, &batches.end);
    transaction.clear(&frontend.keys.frontend(id));
}
