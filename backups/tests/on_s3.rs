//! Backups on a real S3 server, s3s-fs, which keeps its objects as files: what is damaged is damaged there.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use dragon_backups::{BackupError, Bucket, list, manifest, prune, restore, take, verify};
use dragon_core::cell::Account;
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_memory::MemoryStore;
use dragon_transfer::export;
use dragon_waiters::Frontend;
use futures_util::TryStreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const BUCKET: &str = "backups";

/// An S3 server of this process, on a port of its own.
struct S3 {
    folder: TempDir,
    client: Client,
    bucket: Bucket,
    serving: JoinHandle<()>,
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl S3 {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .region(Region::new("eu-test-1"))
            .endpoint_url(format!("http://{address}"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true)
            .build();
        let client = Client::from_conf(config);
        let bucket = Bucket::with_client(client.clone(), format!("s3://{BUCKET}/a/b").parse().unwrap());
        Self { folder, client, bucket, serving }
    }

    async fn put_manifest(&self, id: &str, json: &str) {
        let put = self.client.put_object().bucket(BUCKET).key(format!("a/b/backups/{id}.json"));
        put.body(json.as_bytes().to_vec().into()).send().await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join("a/b").join(name)
    }
}

fn frontend() -> Frontend {
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
    let (s3, frontend) = (S3::start().await, frontend());
    for name in ["a", "b.c", "-"] {
        set(&frontend, name, "k", format!("\"{name}\"")).await;
    }
    // More than one part.
    for at in 0..20 {
        set(&frontend, "large", &format!("k{at}"), noise(at, 1 << 20)).await;
    }
    let first = take(&frontend, &s3.bucket).await.unwrap();
    assert_eq!(list(&s3.bucket).await.unwrap(), std::slice::from_ref(&first.id));
    assert_eq!(manifest(&s3.bucket, &first.id).await.unwrap(), first);
    let names: Vec<&str> = first.accounts.iter().map(|entry| entry.account.as_str()).collect();
    assert_eq!(names, ["-", "a", "b.c", "large"]);
    assert!(first.accounts[3].bytes > 10 << 20);
    verify(&s3.bucket, &first).await.unwrap();

    // What has not changed is referred to.
    set(&frontend, "a", "k", "2").await;
    let second = take(&frontend, &s3.bucket).await.unwrap();
    let is_same = |at: usize| first.accounts[at].object == second.accounts[at].object;
    assert_eq!((0..4).map(is_same).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(list(&s3.bucket).await.unwrap().len(), 2);

    let other = crate::frontend();
    let restored = restore(&other, &s3.bucket, &second, None, false).await.unwrap();
    assert_eq!(restored.len(), 4);
    for name in names {
        assert!(rows(&other, name).await == rows(&frontend, name).await, "{name}");
    }
    // Nothing is referred to of another store, though the revisions may be the same.
    let third = take(&other, &s3.bucket).await.unwrap();
    assert!(third.accounts.iter().all(|entry| second.accounts.iter().all(|old| old.object != entry.object)));
    assert_ne!(third.store_id, second.store_id);
}

#[tokio::test]
async fn a_restore_overwrites_only_when_forced() {
    let (s3, frontend) = (S3::start().await, frontend());
    set(&frontend, "a", "k", "1").await;
    set(&frontend, "b", "k", "1").await;
    let backup = take(&frontend, &s3.bucket).await.unwrap();
    set(&frontend, "a", "k", "2").await;
    let before = rows(&frontend, "a").await;
    let refused = restore(&frontend, &s3.bucket, &backup, None, false).await;
    assert!(matches!(refused, Err(BackupError::NotEmpty)), "{refused:?}");
    let refused = restore(&frontend, &s3.bucket, &backup, Some(&account("a")), false).await;
    assert!(matches!(refused, Err(BackupError::Import(..))), "{refused:?}");
    let refused = restore(&frontend, &s3.bucket, &backup, Some(&account("c")), true).await;
    assert!(matches!(refused, Err(BackupError::NoAccount { .. })), "{refused:?}");
    assert_eq!(rows(&frontend, "a").await, before);
    let restored = restore(&frontend, &s3.bucket, &backup, Some(&account("a")), true).await.unwrap();
    assert_eq!(restored.len(), 1);
    assert_ne!(rows(&frontend, "a").await, before);
}

#[tokio::test]
async fn damage_is_noticed_and_nothing_of_it_restored() {
    let (s3, frontend) = (S3::start().await, frontend());
    set(&frontend, "a", "k", noise(7, 2_000)).await;
    let backup = take(&frontend, &s3.bucket).await.unwrap();
    let object = s3.path(&backup.accounts[0].object);
    let whole = std::fs::read(&object).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [whole.as_slice(), b"x"].concat();
    let empty = frontend_of_nobody();
    for bad in [flipped(10), flipped(whole.len() / 2), whole[..whole.len() - 1].to_vec(), longer, Vec::new()]
    {
        std::fs::write(&object, bad).unwrap();
        let damaged = verify(&s3.bucket, &backup).await;
        assert!(matches!(damaged, Err(BackupError::Damaged { .. })), "{damaged:?}");
        let refused = restore(&empty, &s3.bucket, &backup, None, false).await;
        assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{refused:?}");
        assert!(rows(&empty, "a").await.is_empty());
    }
    std::fs::remove_file(&object).unwrap();
    assert!(matches!(verify(&s3.bucket, &backup).await, Err(BackupError::Bucket(_))));
    std::fs::write(&object, &whole).unwrap();
    restore(&empty, &s3.bucket, &backup, None, false).await.unwrap();

    let json = std::fs::read_to_string(s3.path(&format!("backups/{}.json", backup.id))).unwrap();
    s3.put_manifest(&backup.id, &json.replace("\"Format\": 1", "\"Format\": 2")).await;
    let newer = manifest(&s3.bucket, &backup.id).await;
    assert!(matches!(newer, Err(BackupError::Newer { format: 2, .. })), "{newer:?}");
    s3.put_manifest(&backup.id, &json[..json.len() / 2]).await;
    assert!(matches!(manifest(&s3.bucket, &backup.id).await, Err(BackupError::Manifest { .. })));
    // One that can't be read is in nobody's way.
    take(&frontend, &s3.bucket).await.unwrap();
}

fn frontend_of_nobody() -> Frontend {
    frontend()
}

#[tokio::test]
async fn what_is_not_kept_goes_and_nothing_else() {
    let (s3, frontend) = (S3::start().await, frontend());
    let mut backups = Vec::new();
    for round in 0..4 {
        set(&frontend, "still", "k", "1").await;
        if round == 0 {
            set(&frontend, "same", "k", "1").await;
        }
        backups.push(take(&frontend, &s3.bucket).await.unwrap());
        // Ids tell the second.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    let now_ms = backups[3].time_ms;
    assert_eq!(prune(&s3.bucket, "2".parse().unwrap(), now_ms).await.unwrap(), 2);
    let ids: Vec<String> = backups[2..].iter().map(|backup| backup.id.clone()).collect();
    assert_eq!(list(&s3.bucket).await.unwrap(), ids);
    for backup in &backups[2..] {
        verify(&s3.bucket, backup).await.unwrap();
    }
    // What might belong to a backup that is being taken stays for a day.
    let old = s3.path(&backups[0].accounts[1].object);
    let shared = s3.path(&backups[0].accounts[0].object);
    assert!(old.exists() && shared == s3.path(&backups[3].accounts[0].object));
    let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(90_000);
    for path in [&old, &shared] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(yesterday).unwrap();
    }
    assert_eq!(prune(&s3.bucket, "2".parse().unwrap(), now_ms).await.unwrap(), 0);
    assert!(!old.exists() && shared.exists());
    verify(&s3.bucket, &backups[3]).await.unwrap();
}

/// Each request changes two counters and two values in ways that must agree.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_tears_no_request() {
    let (s3, frontend) = (S3::start().await, frontend());
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
        let backup = take(&frontend, &s3.bucket).await.unwrap();
        let restored = frontend_of_nobody();
        restore(&restored, &s3.bucket, &backup, None, false).await.unwrap();
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
