//! What the lanes count.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The lanes' metrics. Clones share their values.
#[derive(Clone, Debug)]
pub struct LaneMetrics {
    pub(crate) batch_requests: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) queued_requests: Gauge,
    pub(crate) commit_errors: Counter,
}

impl Default for LaneMetrics {
    fn default() -> Self {
        Self {
            batch_requests: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_064, 2.0, 18)),
            queued_requests: Gauge::default(),
            commit_errors: Counter::default(),
        }
    }
}

impl LaneMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "dragon_batch_requests",
            "Requests committed together in one batch",
            self.batch_requests.clone(),
        );
        registry.register(
            "dragon_commit_seconds",
            "Time from handing a batch to the store until it is durable",
            self.commit_seconds.clone(),
        );
        registry.register(
            "dragon_queued_requests",
            "Requests that wait for the next batch",
            self.queued_requests.clone(),
        );
        registry.register(
            "dragon_commit_errors",
            "Batches that the store failed",
            self.commit_errors.clone(),
        );
    }
}
