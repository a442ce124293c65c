//! The conformance suite on the embedded store.

use dragon_contract::Backend;
use dragon_embedded::{EmbeddedMetrics, EmbeddedStore};
use std::sync::Arc;
use tempfile::TempDir;

#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
async fn open() -> (Arc<dyn Backend>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), EmbeddedMetrics::default()).unwrap();
    (Arc::new(store), folder)
}

dragon_contract::conformance_suite!(open);
