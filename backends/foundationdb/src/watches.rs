//! Native watches: the cluster tells when a key changes. They are hints; the row that is read after one
//! decides.

use crate::committer::Frontend;
use crate::failure::{Failure, TOO_MANY_WATCHES};
use crate::rows;
use dragon_contract::{BackendError, Result};
use dragon_core::cell::Cell;
use foundationdb::FdbError;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Watches of one frontend, each about 9 kB of its memory. The cluster's servers hold theirs in 100 MB each; past
/// that the client looks again and again by itself.
const WATCHES_MAX: usize = 100_000;
/// What the client library is told: more than are ever asked for at once.
pub(crate) const WATCHES_OF_CLIENT_MAX: i32 = 1_000_000;
/// How long arming a watch may take.
const ARM_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait before arming one again that ended with an error.
const PAUSE: Duration = Duration::from_millis(100);

/// Room for watches. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Watches(Arc<Semaphore>);

impl Default for Watches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WATCHES_MAX)))
    }
}

/// Counts a watch as long as it lives.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(watches: &'a Gauge) -> Self {
        watches.inc();
        Self(watches)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Watches {
    /// Waits until the row's stamp may differ from `seen`.
    pub(crate) async fn changed(&self, frontend: &Frontend, cell: &Cell, seen: u64) -> Result<()> {
        let Ok(_room) = self.0.try_acquire() else {
            return Err(BackendError::Busy(format!("{WATCHES_MAX} watches are armed")));
        };
        let _counted = Counted::new(&frontend.metrics.watches);
        // Commits of this frontend are told here sooner.
        let registration = frontend.wakeups.register(cell);
        tokio::select! {
            () = registration.woken() => Ok(()),
            changed = watch(frontend, cell, seen) => changed,
        }
    }
}

async fn watch(frontend: &Frontend, cell: &Cell, seen: u64) -> Result<()> {
    loop {
        let arming = timeout(ARM_TIME_MAX, arm(frontend, cell, seen));
        let armed = arming.await.unwrap_or_else(|_| Err(crate::failure::too_long()));
        let Some(watch) = (match armed {
            Err(Failure::Conflict(reason)) => {
                tracing::debug!(reason, ?cell, "a watch is armed again");
                sleep(PAUSE).await;
                continue;
            }
            armed => armed?,
        }) else {
            return Ok(());
        };
        match watch.await {
            Ok(()) => return Ok(()),
            Err(error) if error.code() == TOO_MANY_WATCHES => {
                return Err(BackendError::Busy(error.to_string()));
            }
            // It was cancelled, or the cluster has recovered: the row may have changed meanwhile.
            Err(error) => {
                tracing::debug!(%error, ?cell, "a watch has ended");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Reads the stamp and arms a watch, in one transaction. `None`: the stamp is another one already.
async fn arm(
    frontend: &Frontend,
    cell: &Cell,
    seen: u64,
) -> std::result::Result<Option<impl Future<Output = std::result::Result<(), FdbError>> + use<>>, Failure> {
    let transaction = frontend.begin_watching()?;
    if rows::stamp(&transaction, &frontend.keys, cell).await? != seen {
        return Ok(None);
    }
    let watch = transaction.watch(&frontend.keys.head(cell));
    transaction.commit().await?;
    Ok(Some(watch))
}
