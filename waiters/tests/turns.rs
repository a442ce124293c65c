//! How batches are made: where frontends take turns, when the turn has come; and of what a store did not take
//! of the one before.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod support;

use dragon_contract::{AccountsPage, Backend, CommitFuture, Health, Loaded, Result, Snapshot};
use dragon_core::batch::Entry;
use dragon_core::cell::{Account, Cell};
use dragon_core::page::{Page, Query};
use dragon_core::request::Draft;
use dragon_memory::MemoryStore;
use dragon_waiters::{Frontend, WaiterMetrics};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use support::{lock, set, submit};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Turn,
    Pass,
    /// Of so many entries.
    Commit(usize),
}

/// A store whose turns come when the test says so.
struct TurnByTurn {
    store: MemoryStore,
    turns: Semaphore,
    /// It takes so many entries of a batch at most.
    takes_max: usize,
    calls: Mutex<Vec<Call>>,
}

impl TurnByTurn {
    fn new(takes_max: usize) -> (Arc<Self>, Frontend) {
        let (turns, calls) = (Semaphore::new(0), Mutex::default());
        let store = Arc::new(Self { store: MemoryStore::default(), turns, takes_max, calls });
        let frontend = Frontend::start(Arc::clone(&store) as _, Default::default(), WaiterMetrics::default());
        (store, frontend)
    }

    async fn until_called(&self, calls: &[Call]) {
        let called = async {
            while *self.calls.lock() != calls {
                sleep(MS).await;
            }
        };
        assert!(timeout(5_000 * MS, called).await.is_ok(), "{:?}, not {calls:?}", self.calls.lock());
    }
}

#[async_trait::async_trait]
impl Backend for TurnByTurn {
    async fn turn(&self, lane: usize) {
        assert_eq!(lane, 0);
        self.calls.lock().push(Call::Turn);
        self.turns.acquire().await.unwrap().forget();
    }

    fn pass(&self, lane: usize) {
        assert_eq!(lane, 0);
        self.calls.lock().push(Call::Pass);
    }

    fn commit(&self, batch: Arc<[Entry]>) -> CommitFuture {
        self.calls.lock().push(Call::Commit(batch.len()));
        self.store.commit(batch.iter().take(self.takes_max).cloned().collect())
    }

    async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        self.store.load(cells).await
    }

    async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.store.changed(cell, seen).await
    }

    async fn scan(&self, query: &Query) -> Result<Page> {
        self.store.scan(query).await
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

fn write(name: &str) -> Draft {
    Draft { kv_set: vec![set(name, "1")], ..Draft::default() }
}

#[tokio::test]
async fn what_arrives_before_the_turn_is_in_the_batch() {
    let (store, frontend) = TurnByTurn::new(usize::MAX);
    let submitting = |name: &'static str| {
        let frontend = frontend.clone();
        tokio::spawn(async move { submit(&frontend, write(name)).await })
    };
    let first = submitting("a");
    store.until_called(&[Call::Turn]).await;
    let later = [submitting("b"), submitting("c")];
    sleep(20 * MS).await;
    assert!(!first.is_finished());
    store.turns.add_permits(1);
    first.await.unwrap().unwrap();
    for submitted in later {
        submitted.await.unwrap().unwrap();
    }
    assert_eq!(*store.calls.lock(), [Call::Turn, Call::Commit(3)]);
}

#[tokio::test]
async fn a_turn_that_nobody_needs_any_more_is_given_back() {
    let (store, frontend) = TurnByTurn::new(usize::MAX);
    let hung_up = {
        let frontend = frontend.clone();
        tokio::spawn(async move { submit(&frontend, lock(5)).await })
    };
    store.until_called(&[Call::Turn]).await;
    hung_up.abort();
    assert!(hung_up.await.unwrap_err().is_cancelled());
    store.turns.add_permits(1);
    store.until_called(&[Call::Turn, Call::Pass]).await;

    store.turns.add_permits(1);
    submit(&frontend, write("a")).await.unwrap();
    assert_eq!(store.calls.lock()[2..], [Call::Turn, Call::Commit(1)]);
}

#[tokio::test]
async fn what_the_store_does_not_take_is_committed_next_and_in_order() {
    let (store, frontend) = TurnByTurn::new(1);
    let mut submitted = Vec::new();
    for number in ["1", "2", "3"] {
        let frontend = frontend.clone();
        submitted.push(tokio::spawn(async move {
            let draft =
                Draft { kv_set: vec![set("a", number)], kv_get: vec!["a".into()], ..Draft::default() };
            submit(&frontend, draft).await.unwrap()
        }));
        sleep(20 * MS).await;
    }
    store.turns.add_permits(3);
    for (number, submitted) in (1..).zip(submitted) {
        let answer = submitted.await.unwrap();
        assert!(answer.ends_with(&format!("\"Version\":{number}}}")), "{answer}");
    }
    let turn_by_turn = [1, 2, 3].map(|left| [Call::Turn, Call::Commit(4 - left)]);
    assert_eq!(*store.calls.lock(), turn_by_turn.concat());
}
