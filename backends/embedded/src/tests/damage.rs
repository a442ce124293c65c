//! A damaged folder is reported and left as it is; a folder serves one process at a time.

use super::{commit, count, open};
use crate::OpenError;
use crate::database::keep_log;
use crate::log::{FileId, Log};
use dragon_contract::Backend as _;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A store that was killed: its files as they were while it served.
async fn crashed(folder: &Path, writes: u64) {
    let served = tempfile::tempdir().unwrap();
    let store = open(served.path()).unwrap();
    for number in 0..writes {
        commit(&store, number, 3_000).await.unwrap();
    }
    for file in fs::read_dir(served.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
}

fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    // What SQLite shares between connections is made anew at each open and holds nothing of its own.
    named.filter(|(name, _)| !name.ends_with("-shm")).collect()
}

fn assert_damaged(folder: &Path, what: &str) {
    let before = content(folder);
    let error = open(folder).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
    assert_eq!(content(folder).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{what}");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_crashed_store_opens_with_all_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 20).await;
    assert_eq!(count(&open(folder.path()).unwrap()).await, 20);
}

#[tokio::test]
async fn a_folder_serves_once_at_a_time_and_again_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    commit(&store, 1, 10).await.unwrap();
    assert!(matches!(open(folder.path()).unwrap_err(), OpenError::InUse(_)));
    store.close().await;
    assert!(commit(&store, 2, 10).await.is_err());
    drop(store);
    assert!(fs::read_to_string(folder.path().join("LOCK")).unwrap().contains("closed"));
    assert_eq!(count(&open(folder.path()).unwrap()).await, 1);
}

/// The one file of a log that is not full yet.
fn log_of(folder: &Path) -> PathBuf {
    crate::log::file_of(folder, 1)
}

/// Where the records of a log begin, and where the last one ends.
fn records(log: &Path) -> Vec<usize> {
    let bytes = fs::read(log).unwrap();
    let mut places = vec![512];
    loop {
        let at = *places.last().unwrap();
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        if length == 0 {
            return places;
        }
        places.push((at + 16 + length as usize).next_multiple_of(8));
    }
}

#[tokio::test]
async fn damage_in_the_middle_of_the_log_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 20).await;
    let log = log_of(folder.path());
    let places = records(&log);
    assert_eq!(places.len(), 21);
    // The header, and of records up to the one before the last: length, checksum, sequence, content.
    let heads = [3, 10, 20, 25].into_iter();
    let in_records = [0, 1, 10, 18].map(|number| places[number]);
    for at in
        heads.chain(in_records.into_iter().flat_map(|at| [at, at + 3, at + 5, at + 15, at + 20, at + 999]))
    {
        flip(&log, at);
        assert_damaged(folder.path(), &format!("byte {at}"));
        flip(&log, at);
    }
    assert_eq!(count(&open(folder.path()).unwrap()).await, 20);
}

#[tokio::test]
async fn a_torn_end_of_the_log_is_no_damage() {
    for torn in [0, 5, 20, 1_000] {
        let folder = tempfile::tempdir().unwrap();
        crashed(folder.path(), 20).await;
        let log = log_of(folder.path());
        let last = records(&log)[19];
        flip(&log, last + torn);
        // The last record is gone, as after a power cut in the middle of its write.
        let store = open(folder.path()).unwrap();
        assert_eq!(count(&store).await, 19);
        commit(&store, 99, 10).await.unwrap();
        assert_eq!(count(&store).await, 20);
    }
}

#[tokio::test]
async fn a_log_that_is_cut_short_or_lacks_a_file_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 20).await;
    let whole = fs::read(log_of(folder.path())).unwrap();
    // A second file that goes on where the first one ended, as after many more writes.
    let database = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let salt: i64 = database.query_row("SELECT salt FROM moved", [], |row| row.get(0)).unwrap();
    keep_log(&database).unwrap();
    drop(database);
    let id = FileId { number: 2, salt: salt.cast_unsigned() };
    drop(Log::begin(folder.path(), id, 21).unwrap());
    assert_eq!(records(&log_of(folder.path())).len(), 21);
    let first = log_of(folder.path());
    flip(&first, records(&first)[19] + 20);
    assert_damaged(folder.path(), "the last record of a file that another one follows");
    fs::remove_file(&first).unwrap();
    assert_damaged(folder.path(), "the first file is missing");
    fs::write(&first, whole).unwrap();
    assert_eq!(count(&open(folder.path()).unwrap()).await, 20);
}

#[tokio::test]
async fn any_flipped_byte_of_a_closed_database_is_reported_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for number in 0..40 {
        commit(&store, number, 700).await.unwrap();
    }
    store.close().await;
    drop(store);
    let database = folder.path().join("store.db");
    let whole = content(folder.path());
    let len = whole["store.db"].len();
    let mut reported = 0;
    for at in (0..len).step_by(977) {
        for (name, bytes) in &whole {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        flip(&database, at);
        match open(folder.path()) {
            Err(OpenError::Damaged { .. } | OpenError::Newer { .. }) => reported += 1,
            Err(error) => panic!("byte {at}: {error}"),
            // Free space, or a field that SQLite mends by itself: then nothing may be missing.
            Ok(store) => assert_eq!(count(&store).await, 40, "byte {at}"),
        }
    }
    assert!(reported > len / 977 / 2, "only {reported} of {} were reported", len / 977);
}

#[tokio::test]
async fn missing_and_foreign_files_are_reported() {
    for (name, remove) in
        [("store.db", true), ("store.db", false), ("store.db-wal", true), ("log-0000000001", true)]
    {
        let folder = tempfile::tempdir().unwrap();
        crashed(folder.path(), 3).await;
        let path = folder.path().join(name);
        if remove {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, b"").unwrap();
        }
        assert_damaged(folder.path(), name);
    }
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 3).await;
    fs::write(folder.path().join("LOCK"), "something else").unwrap();
    assert_damaged(folder.path(), "LOCK");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
    assert!(matches!(open(folder.path()).unwrap_err(), OpenError::Foreign(_)));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().close().await;
    let connection = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    drop(connection);
    assert!(matches!(open(folder.path()).unwrap_err(), OpenError::Newer { found: 3, known: 2, .. }));
}

/// What a program of format 1 left when it was closed in order.
#[tokio::test]
async fn a_folder_of_the_format_before_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    commit(&store, 1, 10).await.unwrap();
    store.close().await;
    drop(store);
    let connection = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let older =
        "CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), latest_ms INTEGER NOT NULL) STRICT;
                 INSERT INTO clock (id, latest_ms) VALUES (1, 4102444800000);
                 DROP TABLE moved; PRAGMA user_version = 1";
    connection.execute_batch(older).unwrap();
    connection.close().unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!(count(&store).await, 1);
    assert!(store.health().await.unwrap().now_ms >= 4_102_444_800_000);
    commit(&store, 2, 10).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(count(&open(folder.path()).unwrap()).await, 2);
}

#[tokio::test]
async fn a_crash_during_the_first_start_leaves_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("LOCK"), "").unwrap();
    fs::write(folder.path().join("store.db.new"), "half a database").unwrap();
    let store = open(folder.path()).unwrap();
    commit(&store, 1, 10).await.unwrap();
    assert!(!folder.path().join("store.db.new").exists());
}
