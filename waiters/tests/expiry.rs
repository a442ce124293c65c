//! A write that was decided before a key expired, and committed after someone saw it expired: what is answered
//! then is what the write left.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod support;

use bytes::Bytes;
use dragon_contract::{AccountsPage, Backend, CommitFuture, Health, Loaded, Result, Snapshot};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::limits::Limits;
use dragon_core::page::{Page, Query};
use dragon_core::request::{Draft, SetDraft};
use dragon_memory::MemoryStore;
use dragon_waiters::{Frontend, WaiterMetrics, Watched};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::{account, key, request, set};

const BEGUN_MS: u64 = 1_000_000;

/// The first read has a snapshot from before a renewal of the key, and is judged by a time after its expiry.
struct Late {
    store: MemoryStore,
    clock: Arc<AtomicU64>,
    is_first: AtomicBool,
}

fn write(ttl_s: u64) -> Arc<[Entry]> {
    let kv_set = vec![SetDraft { ttl_s: Some(ttl_s), ..set("k", "1") }];
    [Entry { request: request(Draft { kv_set, ..Draft::default() }), turn: Turn::First }].into()
}

impl Late {
    /// A store with a key that has a second to live.
    async fn new() -> Arc<Self> {
        let clock = Arc::new(AtomicU64::new(BEGUN_MS));
        let now = Arc::clone(&clock);
        let store = MemoryStore::new(Arc::new(move || now.load(Ordering::SeqCst)));
        store.commit(write(1)).await.unwrap();
        Arc::new(Self { store, clock, is_first: AtomicBool::new(true) })
    }

    fn frontend(self: &Arc<Self>) -> Frontend {
        Frontend::start(Arc::clone(self) as _, Default::default(), WaiterMetrics::default())
    }

    /// After the first read: the renewal, and the time of the judgement.
    async fn renew(&self) -> Option<u64> {
        if !self.is_first.swap(false, Ordering::SeqCst) {
            return None;
        }
        self.store.commit(write(60)).await.unwrap();
        self.clock.store(BEGUN_MS + 1_001, Ordering::SeqCst);
        Some(BEGUN_MS + 1_001)
    }
}

#[async_trait::async_trait]
impl Backend for Late {
    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        self.store.commit(batch)
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        let loaded = self.store.load(cells).await?;
        Ok(match self.renew().await {
            Some(now_ms) => Loaded { now_ms, ..loaded },
            None => loaded,
        })
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.store.changed(cell, seen).await
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        let meta = Cell::meta(&query.account);
        let rows = self.store.load(&[meta.clone(), key("k")]).await?.rows;
        let Some(now_ms) = self.renew().await else { return self.store.scan(query).await };
        let mut page = Page::begin(query, rows[0].as_ref(), now_ms)?;
        let row: Bytes = rows[1].clone().unwrap();
        assert!(page.push(key("k"), row)?.is_continue());
        Ok(page)
    }

    async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        self.store.accounts(after, limit).await
    }

    async fn snapshot(&self, account: &Account) -> Result<Box<dyn Snapshot>> {
        self.store.snapshot(account).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize> {
        self.store.sweep(limit).await
    }

    async fn health(&self) -> Result<Health> {
        self.store.health().await
    }
}

#[tokio::test]
async fn a_watch_does_not_tell_a_renewed_key_gone() {
    let frontend = Late::new().await.frontend();
    let watched = frontend.watch(&key("k"), &account(), 1, Duration::from_secs(5)).await.unwrap();
    let Watched::Changed(shown) = watched else { panic!("{watched:?}") };
    assert!(shown.windows(11).any(|text| text == b"\"Version\":2"), "{}", shown.escape_ascii());
}

#[tokio::test]
async fn a_list_does_not_leave_a_renewed_key_out() {
    let frontend = Late::new().await.frontend();
    let (none, limits) = (String::new(), Limits::default());
    let query = Query::new(account(), Kind::Value, none.clone(), none, None, &limits).unwrap();
    let (page, _) = frontend.list(&query).await.unwrap();
    assert_eq!(page.shown.len(), 1);
}
