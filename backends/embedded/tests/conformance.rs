//! The conformance suite on the embedded store.

use dragon_contract::Backend;
use dragon_embedded::{EmbeddedMetrics, EmbeddedStore, LogBounds};
use std::sync::Arc;
use tempfile::TempDir;

/// Log files so small that rows are moved all the time.
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
async fn open() -> (Arc<dyn Backend>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bounds = LogBounds::of_files(64 << 10);
    let store = EmbeddedStore::open(folder.path(), bounds, EmbeddedMetrics::default()).unwrap();
    (Arc::new(store), folder)
}

dragon_contract::conformance_suite!(open);
