//! An account goes from any store to any other, and is the same: random content, byte for byte.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod random;

use dragon_contract::Backend;
use dragon_embedded::{EmbeddedStore, LogBounds};
use dragon_memory::MemoryStore;
use dragon_postgres::PostgresStore;
use dragon_waiters::Frontend;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use random::{account_file, pass_on, rows_of};
use std::sync::Arc;

const ACCOUNTS: usize = 40;

async fn stores(folder: &std::path::Path) -> Vec<(&'static str, Arc<dyn Backend>)> {
    let embedded = EmbeddedStore::open(folder, LogBounds::of_files(65_536), Default::default()).unwrap();
    let schema = dragon_private_postgres::fresh_schema();
    let address = dragon_private_postgres::shared_address(&schema).parse().unwrap();
    let postgres = PostgresStore::connect(&address).await.unwrap();
    vec![
        ("memory", Arc::new(MemoryStore::default())),
        ("embedded", Arc::new(embedded)),
        ("postgres", Arc::new(postgres)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_the_same_in_every_store() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(folder.path()).await;
    let start =
        |store: &Arc<dyn Backend>| Frontend::start(Arc::clone(store), Default::default(), Default::default());
    let frontends: Vec<(&str, Frontend)> = stores.iter().map(|(name, store)| (*name, start(store))).collect();
    let mut runner = TestRunner::deterministic();
    for number in 0..ACCOUNTS {
        let file = account_file().new_tree(&mut runner).unwrap().current();
        // From each to each: the way goes over every pair.
        let mut carried = file.clone();
        for (from, _) in &frontends {
            for (to, frontend) in &frontends {
                carried = pass_on(frontend, &format!("{from}-{to}-{number}"), &carried).await;
                assert!(rows_of(&carried) == rows_of(&file), "{number}: by {from} to {to}");
            }
        }
    }
    for (_, store) in stores {
        store.close().await;
    }
}
