//! Files to import: whatever the bytes, they are refused and nothing has changed, or they are restored; then the account exports as
//! an equal file, and what is in it can be used.

use bytes::Bytes;
use dragon_contract::NamedRow;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::limits::{Limits, REVISION_MAX, REVISIONS_SKIPPED};
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Verdict};
use dragon_memory::MemoryStore;
use dragon_transfer::format::{Decoder, FormatError, Head, hex};
use dragon_transfer::{ImportError, Imported, Mode, export, import, meta};
use dragon_waiters::{Failure, Frontend};
use futures_util::{TryStreamExt as _, stream};
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::sync::Arc;

/// The store's time.
const NOW_MS: u64 = 1_750_000_000_000;
/// Bytes of a piece in which a file arrives.
const PIECE_BYTES: usize = 61;
/// Of so many rows at most it is asked whether they can be used.
const USED_ROWS_MAX: usize = 50;

/// Takes the input for a file; and for the lines of one, whose last line is put behind them as it has to be, since no input
/// comes by a checksum by chance.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(check_file(bytes));
    runtime.block_on(check_file(&with_end(bytes)));
}

fn with_end(lines: &[u8]) -> Vec<u8> {
    let mut file = lines.to_vec();
    if !file.ends_with(b"\n") {
        file.push(b'\n');
    }
    let rows = file.iter().filter(|byte| **byte == b'\n').count() - 1;
    let hash = hex(&Sha256::digest(&file));
    file.extend_from_slice(
        format!("{{\"Kind\":\"End\",\"Rows\":{rows},\"SHA256\":\"{hash}\"}}\n").as_bytes(),
    );
    file
}

fn account(name: &str) -> Account {
    Account::new(name).expect("a name")
}

type Decoded = Result<(Head, Vec<NamedRow>), FormatError>;

fn decode(file: &[u8], piece_bytes: usize) -> Decoded {
    let mut decoder = Decoder::new(account("a"));
    let mut rows = Vec::new();
    for piece in file.chunks(piece_bytes) {
        rows.extend(decoder.push(piece)?);
    }
    let (head, count) = decoder.finish()?;
    assert_eq!(count, rows.len() as u64);
    Ok((head, rows))
}

async fn check_file(file: &[u8]) {
    let decoded = decode(file, usize::MAX);
    assert_eq!(decode(file, 1), decoded, "in whatever pieces it comes");
    let store = MemoryStore::new(Arc::new(|| NOW_MS));
    let frontend = Frontend::start(Arc::new(store), Default::default(), Default::default());
    let imported = put(&frontend, "a", Mode::Empty, file).await;
    match (imported, decoded) {
        (Err(ImportError::Format(refused)), decoded) => {
            let is_ahead = refused == FormatError::Ahead && decoded.is_ok();
            assert!(is_ahead || decoded.err().as_ref() == Some(&refused), "{refused}");
            assert_eq!(meta(&frontend, &account("a")).await.expect("a row").revision, 0);
            assert_eq!(contents(&frontend, "a").await, []);
            check_kept(&frontend, file).await;
        }
        (Ok(imported), Ok((head, rows))) => {
            assert!(head.mark_ms <= NOW_MS + 86_400_000);
            assert_eq!(imported.rows, rows.len() as u64);
            assert_eq!(imported.revision, head.revision + REVISIONS_SKIPPED);
            check_restored(&frontend, imported, &head, &rows).await;
            use_rows(&frontend, &rows).await;
        }
        (imported, decoded) => panic!("{imported:?}, but {decoded:?}"),
    }
    assert_eq!(contents_of(&frontend, &Account::system()).await, [], "no note is left");
}

async fn put(frontend: &Frontend, name: &str, mode: Mode, file: &[u8]) -> Result<Imported, ImportError> {
    let pieces = file.chunks(PIECE_BYTES).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
    import(frontend, &account(name), mode, stream::iter(pieces)).await
}

async fn get(frontend: &Frontend, name: &str) -> Vec<u8> {
    let lines = export(frontend, &account(name)).await.expect("the store is in memory");
    let lines: Vec<Bytes> = lines.try_collect().await.expect("the store is in memory");
    lines.concat()
}

/// All rows but the account's own, staged ones too.
async fn contents_of(frontend: &Frontend, account: &Account) -> Vec<NamedRow> {
    let mut snapshot = frontend.backend().snapshot(account).await.expect("the store is in memory");
    let mut rows = Vec::new();
    loop {
        let more = snapshot.next().await.expect("the store is in memory");
        if more.is_empty() {
            return rows;
        }
        rows.extend(more.into_iter().filter(|(cell, _)| cell.kind() != Kind::Meta));
    }
}

async fn contents(frontend: &Frontend, name: &str) -> Vec<NamedRow> {
    contents_of(frontend, &account(name)).await
}

async fn ask(frontend: &Frontend, name: &str, draft: Draft) -> Result<Bytes, Rejection> {
    let request = Request::new(account(name), draft, &Limits::default()).expect("a request");
    match frontend.submit(Arc::new(request)).await {
        Err(Failure::Rejected(rejection)) => Err(rejection),
        Err(failure) => panic!("{failure}"),
        Ok(delivery) => match delivery.take() {
            Some(Verdict::Applied(applied)) => Ok(applied.answer),
            other => panic!("{other:?}"),
        },
    }
}

/// A file that is refused leaves what is there, even where it might replace it.
async fn check_kept(frontend: &Frontend, file: &[u8]) {
    let set = SetDraft { key: "k".into(), value: Some("1".into()), ..SetDraft::default() };
    let lock = Draft { lock_id: Some("l".into()), lock_dur_s: Some(9), ..Draft::default() };
    ask(frontend, "b", Draft { kv_set: vec![set], ..lock }).await.expect("an answer");
    let (before, rows) = (get(frontend, "b").await, contents(frontend, "b").await);
    let refused = put(frontend, "b", Mode::Replace, file).await;
    assert!(matches!(refused, Err(ImportError::Format(_))), "{refused:?}");
    assert_eq!((get(frontend, "b").await, contents(frontend, "b").await), (before, rows));
}

/// A file that was imported is exported as an equal one, which is imported and exported to the byte.
async fn check_restored(frontend: &Frontend, imported: Imported, head: &Head, rows: &[NamedRow]) {
    assert_eq!(contents(frontend, "a").await, rows);
    let exported = get(frontend, "a").await;
    let raised = Head { account: "a".into(), revision: imported.revision, mark_ms: head.mark_ms };
    if imported.revision > REVISION_MAX - 2 * REVISIONS_SKIPPED {
        return; // So high that no file may have it: there would be no room above it.
    }
    assert_eq!(decode(&exported, usize::MAX), Ok((raised, rows.to_vec())));
    put(frontend, "b", Mode::Replace, &exported).await.expect("it was exported");
    assert_eq!(lines_of_rows(&get(frontend, "b").await), lines_of_rows(&exported));
    if rows.iter().any(|(cell, _)| cell.kind() == Kind::Counter) {
        let again = put(frontend, "b", Mode::Empty, &exported).await;
        assert!(matches!(again, Err(ImportError::NotEmpty)), "{again:?}");
    }
}

/// The lines between the first and the last, in which the account's name and revision are.
fn lines_of_rows(file: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').skip(1).collect();
    lines.truncate(lines.len() - 2);
    lines
}

/// Each row can be asked for, and what is answered is JSON.
async fn use_rows(frontend: &Frontend, rows: &[NamedRow]) {
    for (cell, _) in rows.iter().take(USED_ROWS_MAX) {
        let answer = ask(frontend, "a", draft_of(cell)).await;
        let json = match answer {
            Ok(answer) => Some(answer),
            Err(Rejection::DuplicateRequest { response, .. }) => response,
            Err(Rejection::LockTimeout { owner, .. }) => {
                assert!(std::str::from_utf8(&owner).is_ok());
                None
            }
            Err(Rejection::CounterOverflow { key }) => {
                assert_eq!(key, cell.id());
                None
            }
            Err(rejection) => panic!("{cell:?}: {rejection:?}"),
        };
        if let Some(json) = json {
            let read = serde_json::from_slice::<IgnoredAny>(&json);
            assert!(read.is_ok() && std::str::from_utf8(&json).is_ok(), "{}", json.escape_ascii());
        }
    }
}

fn draft_of(cell: &Cell) -> Draft {
    let id = cell.id().to_owned();
    match cell.kind() {
        Kind::Counter => Draft {
            atomic: vec![AtomicDraft { key: id, add: Some(1), ..AtomicDraft::default() }],
            ..Draft::default()
        },
        Kind::Lock => Draft { lock_id: Some(id), lock_dur_s: Some(1), ..Draft::default() },
        Kind::Idempotency => Draft { idempotency_ids: vec![id], ..Draft::default() },
        Kind::Value | Kind::Meta | Kind::Staged => Draft { kv_get: vec![id], ..Draft::default() },
    }
}
