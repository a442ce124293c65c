//! The conformance suite on the memory store.

use dragon_contract::Backend;
use dragon_memory::MemoryStore;
use std::sync::Arc;

async fn open() -> (Arc<dyn Backend>, ()) {
    (Arc::new(MemoryStore::default()), ())
}

dragon_contract::conformance_suite!(open);
