//! What the embedded store counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The embedded store's metrics. Clones share their values.
#[derive(Clone, Debug)]
pub struct EmbeddedMetrics {
    pub(crate) sync_seconds: Histogram,
    pub(crate) rows_written: Counter,
    pub(crate) move_seconds: Histogram,
}

impl Default for EmbeddedMetrics {
    fn default() -> Self {
        Self {
            sync_seconds: Histogram::new(exponential_buckets(0.000_032, 2.0, 18)),
            rows_written: Counter::default(),
            move_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        }
    }
}

impl EmbeddedMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "dragon_sync_seconds",
            "Time to make batches durable together: the write to the log and its sync",
            self.sync_seconds.clone(),
        );
        registry.register("dragon_rows_written", "Rows written or deleted", self.rows_written.clone());
        registry.register(
            "dragon_move_seconds",
            "Time to move the log into the database file",
            self.move_seconds.clone(),
        );
    }
}
