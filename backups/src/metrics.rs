//! What is counted of backups.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Backups of one frontend, and of all of its store the last one.
#[derive(Clone, Debug, Default)]
pub struct BackupMetrics {
    pub(crate) taken: Counter,
    pub(crate) failures: Counter,
    pub(crate) prune_failures: Counter,
    pub(crate) uploaded_bytes: Counter,
    pub(crate) is_running: Gauge,
    pub(crate) last_success_s: Gauge,
}

impl BackupMetrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("dragon_backups", "Backups that this server has taken", self.taken.clone());
        registry.register(
            "dragon_backup_failures",
            "Backups that this server could not take",
            self.failures.clone(),
        );
        registry.register(
            "dragon_backup_prune_failures",
            "Times that backups which are not to be kept could not be deleted",
            self.prune_failures.clone(),
        );
        registry.register(
            "dragon_backup_uploaded_bytes",
            "Bytes of accounts that were uploaded, compressed",
            self.uploaded_bytes.clone(),
        );
        registry.register(
            "dragon_backup_is_running",
            "Whether this server is taking a backup",
            self.is_running.clone(),
        );
        registry.register(
            "dragon_backup_last_success_timestamp_seconds",
            "When the store's last backup was begun, in Unix seconds; 0 when there is none",
            self.last_success_s.clone(),
        );
    }
}
