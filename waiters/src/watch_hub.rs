//! Watches: one registration at the store per key however many clients wait. On waking there is one
//! read and one answer, fanned out. The store's wake-up is a hint; the read is the truth.

use crate::frontend::{Failure, Watched, being_replaced, mark};
use crate::metrics::WaiterMetrics;
use crate::topic::Topic;
use dragon_contract::{Backend, BackendError};
use dragon_core::cell::{Account, Cell};
use dragon_core::observe::{Observed, observe};
use dragon_lanes::Lanes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a key whose read failed is left alone.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// All watched keys of one frontend. Lock order: `topics` before a topic's own lock.
pub(crate) struct WatchHub {
    source: Source,
    topics: Mutex<HashMap<Cell, Arc<Topic>>>,
    drain: CancellationToken,
    metrics: WaiterMetrics,
}

/// Where values are read from.
#[derive(Clone)]
struct Source {
    backend: Arc<dyn Backend>,
    lanes: Lanes,
}

/// Counts a watcher for as long as it lives.
struct Counted<'a>(&'a WaiterMetrics);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.watchers.dec();
    }
}

impl WatchHub {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        lanes: Lanes,
        drain: CancellationToken,
        metrics: WaiterMetrics,
    ) -> Self {
        Self { source: Source { backend, lanes }, topics: Mutex::default(), drain, metrics }
    }

    /// Reads the key once, without waiting.
    pub(crate) async fn look_once(
        &self,
        key: &Cell,
        account: &Account,
        seen: u64,
    ) -> Result<Watched, Failure> {
        let observed = self.source.read(key, account).await?;
        Ok(if observed.version == seen { Watched::Unchanged } else { Watched::Changed(observed.answer) })
    }

    /// Waits for another version than `seen`.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        key: &Cell,
        account: &Account,
        seen: u64,
        wait: Duration,
    ) -> Result<Watched, Failure> {
        self.metrics.watchers.inc();
        let _counted = Counted(&self.metrics);
        let mut presence = {
            let mut topics = self.topics.lock();
            let topic = topics.entry(key.clone()).or_insert_with(|| {
                let topic = Arc::new(Topic::default());
                let (hub, topic_driven) = (Arc::clone(self), Arc::clone(&topic));
                let (key, account) = (key.clone(), account.clone());
                tokio::spawn(async move { hub.drive(topic_driven, key, account).await });
                self.metrics.watched_keys.inc();
                topic
            });
            topic.join(seen)
        };
        tokio::select! {
            biased;
            woken = &mut presence.woken => match woken {
                Ok(Ok(answer)) => Ok(Watched::Changed(answer)),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(Failure::Draining),
            },
            () = self.drain.cancelled() => Err(Failure::Draining),
            () = tokio::time::sleep(wait) => {
                if presence.was_settled() {
                    return Ok(Watched::Unchanged);
                }
                // The store took longer than the client would wait. That nothing has changed must be seen all the same.
                tokio::select! {
                    biased;
                    () = self.drain.cancelled() => Err(Failure::Draining),
                    looked = self.look_once(key, account, seen) => looked,
                }
            }
        }
    }

    /// Serves one key until nobody watches it any more.
    async fn drive(&self, topic: Arc<Topic>, key: Cell, account: Account) {
        loop {
            let arrived = topic.arrived();
            match self.source.read(&key, &account).await {
                Ok(observed) => {
                    topic.settle(arrived, &observed);
                    self.next_look(&topic, &key, &observed).await;
                }
                Err(error) => {
                    match &error {
                        BackendError::Busy(_) => tracing::debug!(%error, ?key, "a watched key is read later"),
                        _ => tracing::warn!(%error, ?key, "reading a watched key failed; it is tried again"),
                    }
                    arrived.fail(&error);
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
            let mut topics = self.topics.lock();
            if topic.is_deserted() {
                topics.remove(&key);
                self.metrics.watched_keys.dec();
                return;
            }
        }
    }

    /// Waits until the key has to be read again: it changed or expired, or someone arrived. The store
    /// compares with the row that was read, so a change since then ends the wait at once.
    async fn next_look(&self, topic: &Topic, key: &Cell, observed: &Observed) {
        let expiry = async {
            match observed.expires_in_ms {
                Some(left_ms) => tokio::time::sleep(Duration::from_millis(left_ms + 1)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Whichever comes first, one read follows, which settles what the others are about.
            biased;
            result = self.source.backend.changed(key, observed.stamp) => match result {
                Ok(()) => {}
                // There is no room for one more: who waits had better ask elsewhere, or later.
                Err(error @ BackendError::Busy(_)) => topic.refuse(&error),
                Err(error) => {
                    tracing::warn!(%error, ?key, "waiting for a key's change failed; it is tried again");
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            },
            () = topic.stirred.notified() => {}
            () = expiry => {}
        }
    }
}

impl Source {
    /// What the key is now. An expiry is shown only once it is marked, as it is then: a write that was on its
    /// way may have renewed the key.
    async fn read(&self, key: &Cell, account: &Account) -> Result<Observed, BackendError> {
        loop {
            let observed = self.look(key, account).await?;
            if observed.is_replaced {
                return Err(being_replaced());
            }
            if !observed.needs_mark {
                return Ok(observed);
            }
            mark(&self.lanes, account).await?;
        }
    }

    async fn look(&self, key: &Cell, account: &Account) -> Result<Observed, BackendError> {
        let meta = Cell::meta(account);
        let loaded = self.backend.load(&[meta.clone(), key.clone()]).await?;
        let [meta_row, row] = &loaded.rows[..] else {
            return Err(BackendError::Corrupt("the store did not return the rows asked for".into()));
        };
        Ok(observe((&meta, meta_row.as_ref()), (key, row.as_ref()), loaded.now_ms)?)
    }
}
