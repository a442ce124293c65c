//! What the store counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// The store's metrics. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct PostgresMetrics {
    pub(crate) commits: Counter,
    pub(crate) retries: Counter,
    pub(crate) settled: Counter,
    pub(crate) lock_timeouts: Counter,
    pub(crate) listener_losses: Counter,
    pub(crate) missed_changes: Counter,
    pub(crate) other_frontends: Gauge,
    pub(crate) is_sweeper: Gauge,
    pub(crate) oldest_snapshot_seconds: Gauge<f64, AtomicU64>,
}

impl PostgresMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        counter("dragon_postgres_commits", "Batches committed", &self.commits);
        counter(
            "dragon_postgres_retries",
            "Batches tried again: another frontend was faster, or a connection was lost",
            &self.retries,
        );
        counter(
            "dragon_postgres_settled_commits",
            "Commits whose answer did not come, settled by the batch row",
            &self.settled,
        );
        counter(
            "dragon_postgres_lane_lock_timeouts",
            "Lane locks that were not got in time: another frontend stalls, or the database is slow",
            &self.lock_timeouts,
        );
        counter(
            "dragon_postgres_listener_losses",
            "Times that the connection for notifications was lost and all waiting was looked at again",
            &self.listener_losses,
        );
        counter(
            "dragon_postgres_missed_changes",
            "Changes that no notification told of, found by the look at the stored revisions",
            &self.missed_changes,
        );
        registry.register(
            "dragon_postgres_other_frontends",
            "Other frontends that serve this store",
            self.other_frontends.clone(),
        );
        registry.register(
            "dragon_postgres_is_sweeper",
            "Whether this frontend deletes what has expired",
            self.is_sweeper.clone(),
        );
        registry.register(
            "dragon_postgres_oldest_snapshot_seconds",
            "Age of the oldest transaction that holds back vacuum, as far as the role may see: more than a minute costs throughput",
            self.oldest_snapshot_seconds.clone(),
        );
    }
}
