//! The log is begun anew while commits go on, so that it does not grow with the life of the server.

use super::{account, open};
use bytes::Bytes;
use dragon_contract::Backend as _;
use dragon_core::batch::Entry;
use dragon_core::decide::Turn;
use dragon_core::limits::Limits;
use dragon_core::request::{Draft, Request, SetDraft};
use std::sync::Arc;

/// A thousand keys, spread so that each lies on a page of its own.
fn scattered(round: u64) -> Arc<[Entry]> {
    let set = |number: u64| {
        let key = (number + round * 1_000).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 50_000;
        SetDraft {
            key: format!("{key:05}-{number:03}"),
            value: Some(Bytes::from_static(b"1")),
            ..SetDraft::default()
        }
    };
    let draft = Draft { kv_set: (0..1_000).map(set).collect(), ..Draft::default() };
    let request = Request::new(account(), draft, &Limits::default()).unwrap();
    Arc::new([Entry { request: Arc::new(request), turn: Turn::First }])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_small_under_an_unbroken_stream_of_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let mut before = store.commit(scattered(0));
    for round in 1..100 {
        let next = store.commit(scattered(round));
        before.await.unwrap();
        before = next;
    }
    before.await.unwrap();
    let log_bytes = std::fs::metadata(folder.path().join("store.db-wal")).unwrap().len();
    assert!(log_bytes < 150 << 20, "the log has {log_bytes} bytes");
}
