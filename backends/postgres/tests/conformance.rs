//! The suite that every store passes, on a real Postgres; each test has a schema of its own.

use dragon_contract::Backend;
use dragon_postgres::PostgresStore;
use dragon_private_postgres::{fresh_schema, shared_address};
use std::sync::Arc;

async fn open() -> (Arc<dyn Backend>, ()) {
    let address = shared_address(&fresh_schema()).parse().expect("an address");
    let store = PostgresStore::connect(&address).await.expect("the store opens");
    (Arc::new(store), ())
}

dragon_contract::conformance_suite!(open);
