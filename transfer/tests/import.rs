//! Imports: into an empty account, in place of another content, and interrupted at every call of the store.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use dragon_contract::Backend;
use dragon_contract::conformance::faults::{Fault, Faulty};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::limits::{Limits, REVISIONS_SKIPPED};
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Verdict};
use dragon_memory::MemoryStore;
use dragon_transfer::{ImportError, Imported, Mode, delete, export, import, resume_abandoned};
use dragon_waiters::{Failure, Frontend, Watched};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A store in memory whose time goes on when it is told to.
struct Store {
    store: Arc<MemoryStore>,
    ms: Arc<AtomicU64>,
}

impl Store {
    fn new() -> Self {
        let ms = Arc::new(AtomicU64::new(1_700_000_000_000));
        let now_ms = Arc::clone(&ms);
        let store = Arc::new(MemoryStore::new(Arc::new(move || now_ms.load(Ordering::SeqCst))));
        Self { store, ms }
    }

    fn frontend(&self) -> Frontend {
        start(Arc::clone(&self.store) as _)
    }

    /// Lets the leases of drivers that are gone run out.
    fn minute(&self) {
        self.ms.fetch_add(60_000, Ordering::SeqCst);
    }
}

fn start(store: Arc<dyn Backend>) -> Frontend {
    Frontend::start(store, Default::default(), Default::default())
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

async fn ask(frontend: &Frontend, name: &str, draft: Draft) -> Result<Value, Failure> {
    let request = Request::new(account(name), draft, &Limits::default()).unwrap();
    match frontend.submit(Arc::new(request)).await?.take() {
        Some(Verdict::Applied(applied)) => Ok(serde_json::from_slice(&applied.answer).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn set(key: &str, value: impl Into<Bytes>) -> Draft {
    let set = SetDraft { key: key.into(), value: Some(value.into()), ..SetDraft::default() };
    Draft { kv_set: vec![set], ..Draft::default() }
}

fn get(key: &str) -> Draft {
    Draft { kv_get: vec![key.into()], ..Draft::default() }
}

/// Some of everything, and more values than one step takes. Returns the handle of the lock.
async fn fill(frontend: &Frontend, name: &str, mark: &str) -> u64 {
    for first in (0..1_200).step_by(400) {
        let one = |at| SetDraft {
            key: format!("{mark}{at:04}"),
            value: Some(format!("[{at}, \"{mark}\",\n{{}}]").into()),
            ttl_s: (at % 100 == 0).then_some(86_400),
            ..SetDraft::default()
        };
        let draft = Draft { kv_set: (first..first + 400).map(one).collect(), ..Draft::default() };
        ask(frontend, name, draft).await.unwrap();
    }
    ask(frontend, name, set("z-large", format!("\"{}\"", mark.repeat(900_000)))).await.unwrap();
    ask(frontend, name, set("same", format!("\"{mark}\""))).await.unwrap();
    let add = AtomicDraft { key: "c".into(), add: Some(41), ..AtomicDraft::default() };
    let draft =
        Draft { idempotency_ids: vec!["i".into(), "j".into()], atomic: vec![add], ..Draft::default() };
    ask(frontend, name, draft).await.unwrap();
    let lock = Draft { lock_id: Some("l".into()), lock_dur_s: Some(3_600), ..Draft::default() };
    let answer = ask(frontend, name, Draft { lock_owner: Some(mark.into()), ..lock }).await.unwrap();
    answer["Lock"].as_u64().unwrap()
}

async fn file(frontend: &Frontend, name: &str) -> Vec<u8> {
    let chunks: Vec<Bytes> = export(frontend, &account(name)).await.unwrap().try_collect().await.unwrap();
    chunks.concat()
}

/// The lines but the first and the last, which have the account's revision in them.
fn rows(file: &[u8]) -> Vec<String> {
    let lines: Vec<String> = std::str::from_utf8(file).unwrap().lines().map(str::to_owned).collect();
    lines[1..lines.len() - 1].to_vec()
}

fn revision(file: &[u8]) -> u64 {
    let first = file.split(|byte| *byte == b'\n').next().unwrap();
    serde_json::from_slice::<Value>(first).unwrap()["Revision"].as_u64().unwrap()
}

async fn put(frontend: &Frontend, name: &str, mode: Mode, file: &[u8]) -> Result<Imported, ImportError> {
    let chunks: Vec<Result<Bytes, Infallible>> =
        file.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    import(frontend, &account(name), mode, stream::iter(chunks)).await
}

/// Rows that an import has left behind, or still needs.
async fn staged(store: &dyn Backend, name: &str) -> usize {
    let mut snapshot = store.snapshot(&account(name)).await.unwrap();
    let mut staged = 0;
    loop {
        let rows = snapshot.next().await.unwrap();
        if rows.is_empty() {
            return staged;
        }
        staged += rows.iter().filter(|(cell, _)| cell.kind() == Kind::Staged).count();
    }
}

#[tokio::test]
async fn an_account_comes_back_as_it_was() {
    let store = Store::new();
    let frontend = store.frontend();
    let handle = fill(&frontend, "a", "x").await;
    let exported = file(&frontend, "a").await;
    assert_eq!(rows(&exported).len(), 1_200 + 2 + 1 + 1 + 2);
    let imported = put(&frontend, "b", Mode::Empty, &exported).await.unwrap();
    let again = file(&frontend, "b").await;
    assert_eq!(rows(&again), rows(&exported));
    assert_eq!(imported, Imported { rows: 1_206, revision: revision(&exported) + REVISIONS_SKIPPED });
    assert_eq!(revision(&again), imported.revision);
    assert_eq!(staged(&*store.store, "b").await, 0);

    let held = Draft { unlock_id: Some("l".into()), unlock: Some(handle), ..Draft::default() };
    assert_eq!(ask(&frontend, "b", held).await.unwrap(), serde_json::json!({}), "the lock was held");
    let again = Draft { idempotency_ids: vec!["j".into()], ..Draft::default() };
    match ask(&frontend, "b", again).await.unwrap_err() {
        Failure::Rejected(Rejection::DuplicateRequest { response, .. }) => {
            let response: Value = serde_json::from_slice(&response.unwrap()).unwrap();
            assert_eq!(response["Atomic"][0]["Value"], 41);
        }
        other => panic!("{other}"),
    }
    let next = ask(&frontend, "b", set("new", "1")).await.unwrap();
    assert_eq!(next["Version"].as_u64().unwrap(), imported.revision + 2, "after the unlock");
}

#[tokio::test]
async fn nothing_comes_back_as_nothing() {
    let frontend = Store::new().frontend();
    let exported = file(&frontend, "nobody").await;
    assert_eq!((rows(&exported).len(), revision(&exported)), (0, 0));
    let imported = put(&frontend, "b", Mode::Empty, &exported).await.unwrap();
    assert_eq!(imported, Imported { rows: 0, revision: REVISIONS_SKIPPED });
}

#[tokio::test]
async fn what_is_there_is_replaced_only_when_asked() {
    let store = Store::new();
    let frontend = store.frontend();
    fill(&frontend, "a", "x").await;
    fill(&frontend, "b", "y").await;
    for _ in 0..10 {
        ask(&frontend, "b", set("same", "\"later\"")).await.unwrap();
    }
    let (exported, before) = (file(&frontend, "a").await, file(&frontend, "b").await);
    let refused = put(&frontend, "b", Mode::Empty, &exported).await;
    assert!(matches!(refused, Err(ImportError::NotEmpty)), "{refused:?}");
    assert_eq!(file(&frontend, "b").await, before);

    let key = Cell::new(&account("b"), Kind::Value, "same");
    let seen = revision(&before);
    let watching = {
        let (frontend, key) = (frontend.clone(), key.clone());
        tokio::spawn(async move {
            frontend.watch(&key, &account("b"), seen, Duration::from_secs(60)).await.unwrap()
        })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let imported = put(&frontend, "b", Mode::Replace, &exported).await.unwrap();
    assert_eq!(imported.revision, seen.max(revision(&exported)) + REVISIONS_SKIPPED);
    assert_eq!(rows(&file(&frontend, "b").await), rows(&exported));
    let Watched::Changed(answer) = watching.await.unwrap() else { panic!("a watcher sleeps") };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["Value"], "x");
    // What was deleted or has expired is no content.
    let delete = SetDraft { key: "k".into(), delete: true, ..SetDraft::default() };
    ask(&frontend, "c", set("k", "1")).await.unwrap();
    ask(&frontend, "c", Draft { kv_set: vec![delete], ..Draft::default() }).await.unwrap();
    put(&frontend, "c", Mode::Empty, &exported).await.unwrap();
    assert_eq!(rows(&file(&frontend, "c").await), rows(&exported));
}

#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let store = Store::new();
    let frontend = store.frontend();
    fill(&frontend, "a", "x").await;
    fill(&frontend, "b", "y").await;
    let (exported, before) = (file(&frontend, "a").await, file(&frontend, "b").await);
    let flipped: Vec<u8> =
        exported.iter().enumerate().map(|(at, byte)| if at == 70_000 { byte ^ 1 } else { *byte }).collect();
    for bad in [&exported[..exported.len() / 2], &exported[..exported.len() - 20], &flipped, b"{}", b""] {
        for (name, mode) in [("b", Mode::Replace), ("c", Mode::Empty)] {
            let refused = put(&frontend, name, mode, bad).await;
            assert!(matches!(refused, Err(ImportError::Format(_))), "{refused:?}");
        }
    }
    let broken = stream::iter([Ok(Bytes::copy_from_slice(&exported[..200_000])), Err("reset")]);
    let refused = import(&frontend, &account("b"), Mode::Replace, broken).await;
    assert!(matches!(refused, Err(ImportError::Source(_))), "{refused:?}");
    assert_eq!(file(&frontend, "b").await, before);
    assert_eq!(rows(&file(&frontend, "c").await).len(), 0);
    wait_until_clean(&store, &["b", "c"]).await;
    for limit in [1, 2, 3] {
        let page = frontend.accounts(None, limit).await.unwrap();
        let known = [account("a"), account("b")];
        assert_eq!(page.accounts, known[..limit.min(2)], "and none that never came to be");
        assert_eq!(page.more, limit == 1);
    }
    // The way is free.
    put(&frontend, "b", Mode::Replace, &exported).await.unwrap();
    put(&frontend, "c", Mode::Empty, &exported).await.unwrap();
}

/// What is taken back is taken back beside the answer.
async fn wait_until_clean(store: &Store, names: &[&str]) {
    let clean = async {
        for name in names {
            while staged(&*store.store, name).await > 0 || notes(&*store.store).await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), clean).await.expect("something is left");
}

/// Imports that are noted as under way.
async fn notes(store: &dyn Backend) -> usize {
    let mut snapshot = store.snapshot(&Account::system()).await.unwrap();
    snapshot.next().await.unwrap().iter().filter(|(cell, _)| cell.kind() == Kind::Value).count()
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing() {
    let store = Store::new();
    let frontend = store.frontend();
    fill(&frontend, "a", "x").await;
    let exported = file(&frontend, "a").await;
    let endless = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(&exported[..900_000]))])
        .chain(stream::pending());
    let name = account("b");
    let importing = import(&frontend, &name, Mode::Empty, endless);
    assert!(tokio::time::timeout(Duration::from_millis(300), importing).await.is_err());
    wait_until_clean(&store, &["b"]).await;
    put(&frontend, "b", Mode::Empty, &exported).await.unwrap();
}

#[tokio::test]
async fn one_import_at_a_time() {
    let store = Store::new();
    let frontend = store.frontend();
    fill(&frontend, "a", "x").await;
    let exported = file(&frontend, "a").await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, Infallible>>();
    let chunks = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let other = store.frontend();
    let first = tokio::spawn(async move { import(&other, &account("b"), Mode::Empty, chunks).await });
    sender.send(Ok(Bytes::copy_from_slice(&exported[..500_000]))).unwrap();
    while staged(&*store.store, "b").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = put(&frontend, "b", Mode::Replace, &exported).await;
    assert!(matches!(second, Err(ImportError::UnderWay)), "{second:?}");
    // Content that came in meanwhile is not overwritten.
    ask(&frontend, "b", set("meanwhile", "1")).await.unwrap();
    sender.send(Ok(Bytes::copy_from_slice(&exported[500_000..]))).unwrap();
    drop(sender);
    let refused = first.await.unwrap();
    assert!(matches!(refused, Err(ImportError::NotEmpty)), "{refused:?}");
    wait_until_clean(&store, &["b"]).await;
    assert_eq!(rows(&file(&frontend, "b").await).len(), 1);
    ask(&frontend, "b", set("after", "1")).await.unwrap();
}

/// While the content changes, everyone sees the one or the other, or is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_content_or_the_other() {
    let store = Store::new();
    let frontend = store.frontend();
    fill(&frontend, "a", "x").await;
    fill(&frontend, "b", "x").await;
    fill(&frontend, "c", "y").await;
    let files = [file(&frontend, "a").await, file(&frontend, "c").await];
    let reading = frontend.clone();
    let reader = tokio::spawn(async move {
        let (mut seen, mut turned_away) = ([0; 2], 0);
        while seen.iter().sum::<u32>() < 20_000 && seen != [u32::MAX; 2] {
            let keys = ["x0000", "x1199", "y0000", "y1199", "same"];
            let draft = Draft { kv_get: keys.iter().map(|key| (*key).into()).collect(), ..Draft::default() };
            match ask(&reading, "b", draft).await {
                Ok(answer) => {
                    let kv = answer["KV"].as_array().unwrap();
                    let is_there: Vec<bool> =
                        kv[..4].iter().map(|read| read.get("Value").is_some()).collect();
                    match (&is_there[..], kv[4]["Value"].as_str().unwrap()) {
                        ([true, true, false, false], "x") => seen[0] += 1,
                        ([false, false, true, true], "y") => seen[1] += 1,
                        torn => panic!("{torn:?}"),
                    }
                }
                Err(Failure::Rejected(Rejection::Replacing)) => turned_away += 1,
                Err(other) => panic!("{other}"),
            }
            tokio::task::yield_now().await;
        }
        (seen, turned_away)
    });
    for round in 0..20 {
        put(&frontend, "b", Mode::Replace, &files[(round + 1) % 2]).await.unwrap();
    }
    let (seen, turned_away) = reader.await.unwrap();
    println!("{seen:?}, {turned_away} turned away");
    assert!(seen.iter().all(|count| *count > 0));
}

/// The store fails once, at each of its calls in turn, in each way: the account has the one content or the other, or is there or
/// deleted, and after what was interrupted has been ended, nothing is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_anywhere_leaves_nothing_half() {
    let store = Store::new();
    let frontend = store.frontend();
    small(&frontend, "a", "x").await;
    let new = file(&frontend, "a").await;
    for deletes in [false, true] {
        let (mut undone, mut done) = (0, 0);
        for fault in Fault::ALL {
            for nth_call in 1.. {
                let store = Store::new();
                match one_failure(&store, (fault, nth_call), (deletes, &new)).await {
                    None => break,
                    Some(true) => done += 1,
                    Some(false) => undone += 1,
                }
            }
        }
        println!("{undone} undone, {done} done");
        assert!(undone > 20 && done > 20);
    }
}

/// Whether it was done all the same; `None` when nothing failed.
async fn one_failure(
    store: &Store,
    (fault, nth_call): (Fault, usize),
    (deletes, new): (bool, &[u8]),
) -> Option<bool> {
    let sound = store.frontend();
    small(&sound, "b", "y").await;
    let old = file(&sound, "b").await;
    let faulty = Faulty::new(Arc::clone(&store.store) as _, fault, nth_call);
    let failing = start(Arc::clone(&faulty) as _);
    let outcome = if deletes {
        delete(&failing, &account("b")).await
    } else {
        put(&failing, "b", Mode::Replace, new).await.map(|imported| imported.revision)
    };
    if !faulty.has_failed() {
        outcome.unwrap();
        return None;
    }
    // The driver is gone, and its lease over.
    tokio::time::sleep(Duration::from_millis(2)).await;
    store.minute();
    let case = format!("{fault:?} at call {nth_call}: {outcome:?}");
    resume_abandoned(&sound).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    wait_until_clean(store, &["b"]).await;
    let after = rows(&file(&sound, "b").await);
    let is_done = after != rows(&old);
    if is_done {
        assert_eq!(after, if deletes { Vec::new() } else { rows(new) }, "{case}");
        let unknown = |error: &ImportError| {
            use dragon_contract::BackendError::OutcomeUnknown;
            matches!(error, ImportError::Failure(Failure::Backend(OutcomeUnknown(_))))
        };
        assert!(outcome.as_ref().map_or_else(unknown, |_| true), "{case}");
    } else {
        assert!(outcome.is_err(), "{case}");
    }
    let is_listed = sound.accounts(None, 10).await.unwrap().accounts.contains(&account("b"));
    assert_eq!(is_listed, !(deletes && is_done), "{case}");
    ask(&sound, "b", set("after", "1")).await.unwrap();
    assert!(sound.accounts(None, 10).await.unwrap().accounts.contains(&account("b")), "{case}");
    Some(is_done)
}

async fn small(frontend: &Frontend, name: &str, mark: &str) {
    ask(frontend, name, set(mark, "1")).await.unwrap();
    ask(frontend, name, set("same", format!("\"{mark}\""))).await.unwrap();
    let add = AtomicDraft { key: "c".into(), add: Some(1), ..AtomicDraft::default() };
    ask(frontend, name, Draft { atomic: vec![add], ..Draft::default() }).await.unwrap();
    assert_eq!(ask(frontend, name, get(mark)).await.unwrap()["KV"][0]["Value"], 1);
}
