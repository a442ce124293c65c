//! What the waiters count.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The waiters' metrics. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct WaiterMetrics {
    pub(crate) lock_waiters: Gauge,
    pub(crate) lock_queues: Gauge,
    pub(crate) watchers: Gauge,
    pub(crate) watched_keys: Gauge,
}

impl WaiterMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("dragon_lock_waiters", "Requests that wait for a lock", self.lock_waiters.clone());
        registry.register("dragon_lock_queues", "Locks that someone waits for", self.lock_queues.clone());
        registry.register("dragon_watchers", "Requests that wait for a key to change", self.watchers.clone());
        registry.register("dragon_watched_keys", "Keys that someone watches", self.watched_keys.clone());
    }
}
