//! What the store counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The store's metrics. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct FoundationDbMetrics {
    pub(crate) commits: Counter,
    pub(crate) retries: Counter,
    pub(crate) settled: Counter,
    pub(crate) claims: Counter,
    pub(crate) saved_rows: Counter,
    pub(crate) watches: Gauge,
    pub(crate) other_frontends: Gauge,
    pub(crate) is_sweeper: Gauge,
    pub(crate) clock_seconds_ahead: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl FoundationDbMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        counter("dragon_foundationdb_commits", "Batches committed", &self.commits);
        counter(
            "dragon_foundationdb_retries",
            "Batches tried again: another frontend was faster, or the cluster was away",
            &self.retries,
        );
        counter(
            "dragon_foundationdb_settled_commits",
            "Commits whose answer did not come, settled by the batch's record",
            &self.settled,
        );
        counter(
            "dragon_foundationdb_claims",
            "Lanes claimed because others were faster again and again",
            &self.claims,
        );
        counter(
            "dragon_foundationdb_saved_rows",
            "Rows saved for an account that is being read as a whole, before they were changed",
            &self.saved_rows,
        );
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("dragon_foundationdb_watches", "Native watches", &self.watches);
        gauge(
            "dragon_foundationdb_other_frontends",
            "Other frontends that serve this store",
            &self.other_frontends,
        );
        gauge(
            "dragon_foundationdb_is_sweeper",
            "Whether this frontend deletes what has expired",
            &self.is_sweeper,
        );
        registry.register(
            "dragon_foundationdb_clock_ahead_seconds",
            "How far the store's time is ahead of this machine's wall clock, which pulls at it by a tenth at most",
            self.clock_seconds_ahead.clone(),
        );
    }
}
