//! The suite that every store passes, on a real Postgres; each test has a schema of its own.

#[allow(dead_code, reason = "this file uses a part of it")]
mod support;

use dragon_contract::Backend;
use dragon_postgres::PostgresStore;
use std::sync::Arc;

async fn open() -> (Arc<dyn Backend>, ()) {
    let address = support::shared_address(&support::fresh_schema());
    let store = PostgresStore::connect(&address).await.expect("the store opens");
    (Arc::new(store), ())
}

dragon_contract::conformance_suite!(open);
