//! Backups on a real S3 server, s3s-fs, which keeps its objects as files: what is damaged is damaged there.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bytes::Bytes;
use dragon_backups::{
    BackupError, BackupMetrics, Bucket, BucketOptions, Encryption, Identities, Keeper, Manifest, Reader,
    last, list, manifest, wanted,
};
use dragon_contract::Backend;
use dragon_contract::conformance::faults::{Fault, Faulty};
use dragon_core::cell::Account;
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_memory::MemoryStore;
use dragon_private_s3::{Does, PrivateS3, Seen};
use dragon_transfer::{Imported, Mode, export};
use dragon_waiters::Frontend;
use futures_util::TryStreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn bucket(s3: &PrivateS3) -> Bucket {
    bucket_with(s3, &BucketOptions { path_style: true, ..BucketOptions::default() })
}

fn bucket_with(s3: &PrivateS3, options: &BucketOptions) -> Bucket {
    let credentials = Credentials::new("key", "secret", None, None, "test");
    let surroundings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .region(Region::new("eu-test-1"))
        .endpoint_url(s3.url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Bucket::in_surroundings(s3.location().parse().unwrap(), options, &surroundings)
}

fn keeper(s3: &PrivateS3, frontend: &Frontend) -> Keeper {
    Keeper {
        frontend: frontend.clone(),
        bucket: bucket(s3),
        recipients: Vec::new(),
        is_gentle: false,
        keep: Default::default(),
        metrics: BackupMetrics::default(),
    }
}

fn reader(s3: &PrivateS3) -> Reader {
    Reader { bucket: bucket(s3), identities: Identities::default() }
}

async fn take(s3: &PrivateS3, frontend: &Frontend) -> Manifest {
    keeper(s3, frontend).take_now().await.unwrap()
}

async fn verify(reader: &Reader, backup: &Manifest) -> Result<(), BackupError> {
    for entry in &backup.accounts {
        reader.verify(&backup.id, entry).await?;
    }
    Ok(())
}

async fn restore(
    reader: &Reader,
    target: &Frontend,
    backup: &Manifest,
    account: Option<&Account>,
    is_forced: bool,
) -> Result<Vec<Imported>, BackupError> {
    let mode = if is_forced { Mode::Replace } else { Mode::Empty };
    let mut restored = Vec::new();
    for entry in wanted(target, backup, account, is_forced).await? {
        restored.push(reader.restore(target, &backup.id, entry, mode).await?);
    }
    Ok(restored)
}

fn new_frontend() -> Frontend {
    Frontend::start(Arc::new(MemoryStore::default()), Default::default(), Default::default())
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

async fn ask(frontend: &Frontend, name: &str, draft: Draft) {
    let request = Request::new(account(name), draft, &Limits::default()).unwrap();
    frontend.submit(Arc::new(request)).await.unwrap().take().unwrap();
}

async fn set(frontend: &Frontend, name: &str, key: &str, value: impl Into<Bytes>) {
    let set = SetDraft { key: key.into(), value: Some(value.into()), ..SetDraft::default() };
    ask(frontend, name, Draft { kv_set: vec![set], ..Draft::default() }).await;
}

/// The lines of an account between the first and the last, in which its revision is.
async fn rows(frontend: &Frontend, name: &str) -> Vec<String> {
    let pieces: Vec<Bytes> = export(frontend, &account(name)).await.unwrap().try_collect().await.unwrap();
    let file = String::from_utf8(pieces.concat()).unwrap();
    let lines: Vec<&str> = file.lines().collect();
    lines[1..lines.len() - 1].iter().map(|line| (*line).to_owned()).collect()
}

/// A value that can't be compressed much.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = 2 * seed + 1;
    let digits: String = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + 4 + ((state >> 33) % 80) as u8)
        })
        .filter(|digit| *digit != '\\')
        .collect();
    format!("\"{digits}\"")
}

#[tokio::test]
async fn what_was_backed_up_comes_back() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    for name in ["a", "b.c", "-"] {
        set(&frontend, name, "k", format!("\"{name}\"")).await;
    }
    // More than one part.
    for at in 0..20 {
        set(&frontend, "large", &format!("k{at}"), noise(at, 1 << 20)).await;
    }
    let first = take(&s3, &frontend).await;
    assert_eq!(list(&bucket(&s3)).await.unwrap(), std::slice::from_ref(&first.id));
    assert_eq!(manifest(&bucket(&s3), &first.id).await.unwrap(), first);
    let names: Vec<&str> = first.accounts.iter().map(|entry| entry.account.as_str()).collect();
    assert_eq!(names, ["-", "a", "b.c", "large"]);
    assert!(first.accounts[3].bytes > 10 << 20);
    verify(&reader(&s3), &first).await.unwrap();

    // What has not changed is referred to.
    set(&frontend, "a", "k", "2").await;
    let second = take(&s3, &frontend).await;
    let is_same = |at: usize| first.accounts[at].object == second.accounts[at].object;
    assert_eq!((0..4).map(is_same).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(list(&bucket(&s3)).await.unwrap().len(), 2);

    let other = new_frontend();
    let restored = restore(&reader(&s3), &other, &second, None, false).await.unwrap();
    assert_eq!(restored.len(), 4);
    for name in names {
        assert!(rows(&other, name).await == rows(&frontend, name).await, "{name}");
    }
    // Nothing is referred to of another store, though the revisions may be the same.
    let third = take(&s3, &other).await;
    assert!(third.accounts.iter().all(|entry| second.accounts.iter().all(|old| old.object != entry.object)));
    assert_ne!(third.store_id, second.store_id);
}

#[tokio::test]
async fn a_restore_overwrites_only_when_forced() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", "1").await;
    set(&frontend, "b", "k", "1").await;
    let backup = take(&s3, &frontend).await;
    set(&frontend, "a", "k", "2").await;
    let before = rows(&frontend, "a").await;
    let refused = restore(&reader(&s3), &frontend, &backup, None, false).await;
    assert!(matches!(refused, Err(BackupError::NotEmpty)), "{refused:?}");
    let refused = restore(&reader(&s3), &frontend, &backup, Some(&account("a")), false).await;
    assert!(matches!(refused, Err(BackupError::Restore(..))), "{refused:?}");
    let refused = restore(&reader(&s3), &frontend, &backup, Some(&account("c")), true).await;
    assert!(matches!(refused, Err(BackupError::NoAccount { .. })), "{refused:?}");
    assert_eq!(rows(&frontend, "a").await, before);
    let restored = restore(&reader(&s3), &frontend, &backup, Some(&account("a")), true).await.unwrap();
    assert_eq!(restored.len(), 1);
    assert_ne!(rows(&frontend, "a").await, before);
}

#[tokio::test]
async fn damage_is_noticed_and_nothing_of_it_restored() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", noise(7, 2_000)).await;
    let backup = take(&s3, &frontend).await;
    let object = s3.path(&backup.accounts[0].object);
    let whole = std::fs::read(&object).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [whole.as_slice(), b"x"].concat();
    let empty = new_frontend();
    for bad in [flipped(10), flipped(whole.len() / 2), whole[..whole.len() - 1].to_vec(), longer, Vec::new()]
    {
        std::fs::write(&object, bad).unwrap();
        let damaged = verify(&reader(&s3), &backup).await;
        assert!(matches!(damaged, Err(BackupError::Damaged { .. })), "{damaged:?}");
        let refused = restore(&reader(&s3), &empty, &backup, None, false).await;
        assert!(matches!(refused, Err(BackupError::Restore(..))), "{refused:?}");
        assert!(rows(&empty, "a").await.is_empty());
    }
    std::fs::remove_file(&object).unwrap();
    assert!(matches!(verify(&reader(&s3), &backup).await, Err(BackupError::Bucket(_))));
    std::fs::write(&object, &whole).unwrap();
    restore(&reader(&s3), &empty, &backup, None, false).await.unwrap();

    let file = s3.path(&format!("backups/{}.json", backup.id));
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, json.replace("\"Format\": 1", "\"Format\": 2")).unwrap();
    let newer = manifest(&bucket(&s3), &backup.id).await;
    assert!(matches!(newer, Err(BackupError::Newer { format: 2, .. })), "{newer:?}");
    std::fs::write(&file, &json[..json.len() / 2]).unwrap();
    assert!(matches!(manifest(&bucket(&s3), &backup.id).await, Err(BackupError::Manifest { .. })));
    // One that can't be read is in nobody's way.
    take(&s3, &frontend).await;
}

#[tokio::test]
async fn what_is_not_kept_goes_and_nothing_else() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    let mut backups = Vec::new();
    for round in 0..4 {
        set(&frontend, "still", "k", "1").await;
        if round == 0 {
            set(&frontend, "same", "k", "1").await;
        }
        backups.push(take(&s3, &frontend).await);
    }
    let keeper = Keeper { keep: "3".parse().unwrap(), ..keeper(&s3, &frontend) };
    backups.push(keeper.take_now().await.unwrap());
    let ids: Vec<String> = backups[2..].iter().map(|backup| backup.id.clone()).collect();
    assert_eq!(list(&bucket(&s3)).await.unwrap(), ids);
    for backup in &backups[2..] {
        verify(&reader(&s3), backup).await.unwrap();
    }
    // What might belong to a backup that is being taken stays for a day.
    let old = s3.path(&backups[0].accounts[1].object);
    let shared = s3.path(&backups[0].accounts[0].object);
    assert!(old.exists() && shared == s3.path(&backups[3].accounts[0].object));
    let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(90_000);
    for path in [&old, &shared] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(yesterday).unwrap();
    }
    keeper.take_now().await.unwrap();
    assert!(!old.exists() && shared.exists());
    verify(&reader(&s3), &backups[3]).await.unwrap();
}

/// Each request changes two counters and two values in ways that must agree.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_tears_no_request() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (frontend, stop) = (frontend.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut count = 0_i64;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    let add = |key: &str, add| AtomicDraft {
                        key: key.into(),
                        add: Some(add),
                        ..AtomicDraft::default()
                    };
                    let set = |key: &str| SetDraft {
                        key: format!("{key}{writer}"),
                        value: Some(count.to_string().into()),
                        ..SetDraft::default()
                    };
                    let draft = Draft {
                        atomic: vec![add("credit", count), add("debit", -count)],
                        kv_set: vec![set("a"), set("z")],
                        ..Draft::default()
                    };
                    ask(&frontend, &format!("account{}", count % 3), draft).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    while rows(&frontend, "account2").await.is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        let backup = take(&s3, &frontend).await;
        let restored = new_frontend();
        restore(&reader(&s3), &restored, &backup, None, false).await.unwrap();
        for name in ["account0", "account1", "account2"] {
            let rows = rows(&restored, name).await;
            let value = |id: &str| {
                let row = rows.iter().find(|row| row.contains(&format!("\"Key\":\"{id}\"")));
                row.map(|row| row.rsplit_once("\"Value\":").unwrap().1.trim_end_matches('}').to_owned())
            };
            let number = |id: &str| value(id).unwrap().parse::<i64>().unwrap();
            assert_eq!(number("credit") + number("debit"), 0, "{name}");
            for writer in 0..4 {
                assert_eq!(value(&format!("a{writer}")), value(&format!("z{writer}")), "{name}");
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

fn files(s3: &PrivateS3) -> (usize, usize) {
    (s3.names("backups").len(), s3.names("accounts/a").len())
}

#[tokio::test]
async fn a_server_in_trouble_leaves_no_half_of_a_backup() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    for at in 0..18 {
        set(&frontend, "a", &format!("k{at}"), noise(at, 1 << 20)).await;
    }
    let keeper = keeper(&s3, &frontend);
    let is_denied = |seen: &Seen| if seen.is_upload() { Does::Refuses(403) } else { Does::Answers };
    s3.when_asked(is_denied);
    let denied = keeper.take_now().await.unwrap_err().to_string();
    assert!(denied.contains("AccessDenied"), "{denied}");
    for status in [500, 503, 507] {
        // The second part, again and again.
        let is_second = |seen: &Seen| seen.query.contains("partNumber=2");
        s3.when_asked(move |seen| if is_second(seen) { Does::Refuses(status) } else { Does::Answers });
        assert!(matches!(keeper.take_now().await, Err(BackupError::Bucket(_))));
        assert_eq!(files(&s3), (0, 0), "neither a backup nor an object");
        // The manifest, when all else is there.
        let is_manifest = |seen: &Seen| seen.is_upload() && seen.path.contains("/backups/a/b/backups/");
        s3.when_asked(move |seen| if is_manifest(seen) { Does::Refuses(status) } else { Does::Answers });
        assert!(matches!(keeper.take_now().await, Err(BackupError::Bucket(_))));
        assert_eq!(s3.names("backups").len(), 0);
        for name in s3.names("accounts/a") {
            std::fs::remove_file(s3.path(&format!("accounts/a/{name}"))).unwrap();
        }
    }
    assert_eq!(keeper.status().await.unwrap().failures, 7);
    let noted = keeper.status().await.unwrap().error.unwrap();
    assert!(noted.contains("the bucket"), "{noted}");

    // What passes by itself is not noticed.
    let mut count = 0;
    s3.when_asked(move |_| {
        count += 1;
        if count % 3 == 1 { Does::Refuses(503) } else { Does::Answers }
    });
    let backup = keeper.take_now().await.unwrap();
    s3.when_asked(|_| Does::IsSlow(Duration::from_millis(200)));
    verify(&reader(&s3), &backup).await.unwrap();
    assert_eq!(keeper.status().await.unwrap().last.unwrap().id, backup.id);
    assert_eq!(keeper.status().await.unwrap().failures, 0);
}

#[tokio::test]
async fn a_download_that_breaks_off_restores_nothing() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", "1").await;
    set(&frontend, "b", "k", "1").await;
    let backup = take(&s3, &frontend).await;
    let other = new_frontend();
    s3.when_asked(|seen| if seen.path.contains("accounts/b") { Does::Refuses(500) } else { Does::Answers });
    let refused = restore(&reader(&s3), &other, &backup, None, false).await;
    assert!(matches!(refused, Err(BackupError::Bucket(_))), "{refused:?}");
    assert!(rows(&other, "b").await.is_empty());
    s3.recover();
    assert!(matches!(restore(&reader(&s3), &other, &backup, None, false).await, Err(BackupError::NotEmpty)));
    assert_eq!(restore(&reader(&s3), &other, &backup, None, true).await.unwrap().len(), 2);
    assert_eq!(rows(&other, "b").await, rows(&frontend, "b").await);
}

#[tokio::test]
async fn one_at_a_time_and_whoever_is_gone_is_replaced() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", "1").await;
    let keeper = keeper(&s3, &frontend);
    s3.when_asked(|seen| if seen.is_upload() { Does::Hangs } else { Does::Answers });
    let hanging = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.take_now().await }
    });
    while !s3.take_seen().iter().any(Seen::is_upload) {
        tokio::task::yield_now().await;
    }
    assert!(matches!(keeper.take_now().await, Err(BackupError::UnderWay)));
    hanging.abort();
    s3.recover();
    // By schedule: when the lease of the one that is gone is over.
    let scheduled = keeper.clone();
    let schedule = tokio::spawn(async move { scheduled.keep_at_it(Duration::from_secs(3_600)).await });
    while keeper.status().await.unwrap().last.is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(s3.names("backups").len(), 1);
    schedule.abort();
}

#[tokio::test]
async fn frontends_with_one_schedule_take_each_backup_once() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", "1").await;
    let every = Duration::from_secs(2);
    let begun = tokio::time::Instant::now();
    let schedules: Vec<_> = (0..3)
        .map(|_| {
            let keeper = keeper(&s3, &frontend);
            tokio::spawn(async move { keeper.keep_at_it(every).await })
        })
        .collect();
    while s3.names("backups").len() < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let most = begun.elapsed().as_millis() / every.as_millis() + 1;
    assert!(s3.names("backups").len() <= most as usize);
    schedules.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_encrypted_opens_with_its_key_alone() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", "\"a secret\"").await;
    let clear = take(&s3, &frontend).await;
    let folder = tempfile::tempdir().unwrap();
    let [(ours, our_file), (_, other_file)] = ["ours", "other"].map(|name| {
        let identity = age::x25519::Identity::generate();
        let file = folder.path().join(name);
        let secret = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
        std::fs::write(&file, format!("# a comment\n{secret}\n")).unwrap();
        (identity.to_public().to_string().parse().unwrap(), file)
    });
    let keeper = Keeper { recipients: vec![ours], ..keeper(&s3, &frontend) };
    let sealed = keeper.take_now().await.unwrap();
    assert_ne!(sealed.accounts[0].object, clear.accounts[0].object, "not the one that is not encrypted");
    assert_eq!(keeper.take_now().await.unwrap().accounts[0].object, sealed.accounts[0].object);
    let bytes = std::fs::read(s3.path(&sealed.accounts[0].object)).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"));

    let with = |file| Reader { bucket: bucket(&s3), identities: Identities::read(file).unwrap() };
    for wrong in [reader(&s3), with(&other_file)] {
        let refused = verify(&wrong, &sealed).await.unwrap_err().to_string();
        assert!(refused.contains("key"), "{refused}");
    }
    verify(&with(&our_file), &sealed).await.unwrap();
    verify(&with(&our_file), &clear).await.unwrap();
    let other = new_frontend();
    restore(&with(&our_file), &other, &sealed, None, false).await.unwrap();
    assert_eq!(rows(&other, "a").await, rows(&frontend, "a").await);

    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(s3.path(&sealed.accounts[0].object), flipped).unwrap();
    let damaged = verify(&with(&our_file), &sealed).await;
    assert!(matches!(damaged, Err(BackupError::Damaged { .. })), "{damaged:?}");
}

#[tokio::test]
async fn the_server_is_asked_to_encrypt() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    for at in 0..9 {
        set(&frontend, "large", &format!("k{at}"), noise(at, 1 << 20)).await;
    }
    let encryption = Encryption { algorithm: Some("aws:kms".into()), kms_key: Some("alias/backups".into()) };
    let options = BucketOptions { path_style: true, encryption };
    let keeper = Keeper { bucket: bucket_with(&s3, &options), ..keeper(&s3, &frontend) };
    keeper.take_now().await.unwrap();
    let seen = s3.take_seen();
    let begin = seen.iter().filter(|seen| seen.query.contains("uploads") && seen.method == "POST");
    let put = seen.iter().filter(|seen| seen.is_upload() && !seen.query.contains("partNumber"));
    let asked: Vec<&Seen> = begin.chain(put).collect();
    assert_eq!(asked.len(), 2, "one upload in parts, and the manifest");
    for seen in asked {
        let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("x-amz-server-side-encryption"), Some("aws:kms"));
        assert_eq!(header("x-amz-server-side-encryption-aws-kms-key-id"), Some("alias/backups"));
    }
}

#[tokio::test]
async fn a_store_that_was_begun_anew_drives_out_nothing_of_the_lost_one() {
    let (s3, lost) = (PrivateS3::start(), new_frontend());
    set(&lost, "a", "k", "1").await;
    let of_lost = take(&s3, &lost).await;
    let anew = new_frontend();
    let keeper = Keeper { keep: "1".parse().unwrap(), ..keeper(&s3, &anew) };
    for _ in 0..3 {
        keeper.take_now().await.unwrap();
    }
    assert_eq!(list(&bucket(&s3)).await.unwrap().len(), 2, "the lost store's, and the last of this one");
    // The empty ones are not what one wants back, unless one says so.
    assert_eq!(last(&bucket(&s3), None).await.unwrap().id, of_lost.id);
    assert!(last(&bucket(&s3), Some(u64::MAX)).await.unwrap().accounts.is_empty());
    assert_eq!(last(&bucket(&s3), Some(of_lost.time_ms)).await.unwrap().id, of_lost.id);
    let none = last(&bucket(&s3), Some(of_lost.time_ms - 1)).await;
    assert!(matches!(none, Err(BackupError::NoBackup)), "{none:?}");
}

#[tokio::test]
async fn a_store_that_fails_at_any_call_ends_the_backup() {
    let s3 = PrivateS3::start();
    let store: Arc<dyn Backend> = Arc::new(MemoryStore::default());
    let sound = Frontend::start(Arc::clone(&store), Default::default(), Default::default());
    // More than one step of a snapshot.
    for at in 0..3 {
        set(&sound, "a", &format!("k{at}"), noise(at, 1 << 20)).await;
    }
    take(&s3, &sound).await;
    for nth_call in 1.. {
        set(&sound, "a", "changes", nth_call.to_string()).await;
        let faulty = Faulty::new(Arc::clone(&store), Fault::Unavailable, nth_call);
        let frontend = Frontend::start(Arc::clone(&faulty) as _, Default::default(), Default::default());
        let keeper_of_faulty = keeper(&s3, &frontend);
        let taking = tokio::time::timeout(Duration::from_secs(60), keeper_of_faulty.take_now());
        let taken = taking.await.expect("it ends, whatever fails");
        if !faulty.has_failed() {
            assert!(nth_call > 8, "{nth_call} calls");
            taken.unwrap();
            break;
        }
        // The lock of one that could not give it back is free when its lease is over.
        while let Err(error) = keeper(&s3, &sound).take_now().await {
            assert!(matches!(error, BackupError::UnderWay), "{error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    for id in list(&bucket(&s3)).await.unwrap() {
        let backup = manifest(&bucket(&s3), &id).await.unwrap();
        verify(&reader(&s3), &backup).await.unwrap();
    }
}

/// A store that was put back from a copy of its own has revisions again that it had before, with other content.
#[tokio::test]
async fn nothing_is_referred_to_that_the_store_does_not_know_of() {
    let (s3, frontend) = (PrivateS3::start(), new_frontend());
    set(&frontend, "a", "k", "1").await;
    let first = take(&s3, &frontend).await;
    // One that was taken in the time that is undone.
    let mut undone = first.clone();
    undone.id = undone.id.replace("Z-", "Z-f");
    undone.accounts[0].revision += 1;
    let json = serde_json::to_vec(&undone).unwrap();
    std::fs::write(s3.path(&format!("backups/{}.json", undone.id)), json).unwrap();
    set(&frontend, "a", "k", "2").await;
    let second = take(&s3, &frontend).await;
    assert_eq!(second.accounts[0].revision, undone.accounts[0].revision);
    assert_ne!(second.accounts[0].object, first.accounts[0].object);
    verify(&reader(&s3), &second).await.unwrap();
}
