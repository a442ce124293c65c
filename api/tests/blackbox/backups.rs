//! Backups: by schedule, by request and by command, on a real S3 server that is in trouble now and then.

use crate::commands::{fail_with, succeed_with};
use crate::support::{
    Account, Answer, Connection, Frontend, Server, eventually, eventually_within, json_text,
};
use crate::transfer::{export, rows};
use dragon_private_s3::{Does, PrivateS3, Seen};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tempfile::tempdir;

/// Backups are packed and unpacked with what the machine has left over, which is little where other tests run.
const ASIDE_PATIENCE: Duration = Duration::from_secs(300);

type Settings = Vec<(&'static str, String)>;

/// What a server or a command needs to know of the S3 server.
pub fn settings(s3: &PrivateS3, more: &[(&'static str, &str)]) -> Settings {
    let mut settings: Settings = s3.environment().into();
    settings.push(("DRAGON_BACKUP_TO", s3.location()));
    settings.push(("DRAGON_BACKUP_PATH_STYLE", "true".into()));
    settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    settings
}

fn start(s3: &PrivateS3, every: &str) -> Server {
    let settings = settings(s3, &[("DRAGON_BACKUP_EVERY", every), ("DRAGON_BACKUP_KEEP", "100")]);
    let settings: Vec<(&'static str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Server::start_with(&settings)
}

async fn get(server: &Server, path: &str) -> Answer {
    Connection::open(server.address()).await.get(path).await
}

async fn take(server: &Server) -> Answer {
    Connection::open(server.address()).await.try_post("/backups", b"").await.unwrap()
}

async fn health(server: &Server) -> Value {
    get(server, "/health").await.ok()
}

async fn metric(server: &Server, name: &str) -> f64 {
    let mut sum = 0.0;
    for address in server.addresses() {
        let text = Connection::open(address).await.get("/metrics").await.text().to_owned();
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        sum += line.unwrap().parse::<f64>().unwrap();
    }
    sum
}

/// Values that can't be compressed much.
async fn fill(account: &Account, megabytes: usize) {
    let mut state = 88_172_645_463_325_252_u64;
    for at in 0..megabytes {
        let noise: String = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{state:016x}")
        })
        .take(60_000)
        .collect();
        let value = json_text(&noise);
        account.db(format!(r#"{{"KVSet":[{{"Key":"k{at}","Value":{value}}}]}}"#)).await.ok();
    }
}

fn ids(list: &str) -> Vec<String> {
    list.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The time in an id, as `--at` takes it.
fn time_of(id: &str) -> String {
    let (day, rest) = id.split_once('T').unwrap();
    let (time, _) = rest.split_once('Z').unwrap();
    format!("{day}T{}Z", time.replace('-', ":"))
}

#[tokio::test]
async fn backups_are_taken_listed_and_told_of() {
    let s3 = PrivateS3::start();
    let server = start(&s3, "never");
    let account = Account::of(&server, "a");
    account.set("k", "1").await;
    Account::of(&server, "b").set("k", "1").await;
    assert_eq!(get(&server, "/backups").await.ok(), json!({"Backups": []}));
    let to = s3.location();
    let untouched = json!({"Status": "ok", "Backups": {"To": to, "Failures": 0}});
    assert_eq!(health(&server).await, untouched);

    let mut taken = Vec::new();
    for _ in 0..3 {
        let backup = take(&server).await.ok();
        assert_eq!((&backup["Accounts"], &backup["Rows"]), (&json!(2), &json!(2)));
        taken.push(backup);
    }
    taken.reverse();
    assert_eq!(get(&server, "/backups").await.ok(), json!({"Backups": taken}));
    let page = get(&server, "/backups?limit=2").await.ok();
    assert_eq!(page, json!({"Backups": taken[..2], "More": true}));
    let rest = get(&server, &format!("/backups?after={}", taken[1]["ID"].as_str().unwrap())).await.ok();
    assert_eq!(rest, json!({"Backups": [taken[2]]}));
    for bad in ["limit=0", "limit=1001", "limit=x"] {
        get(&server, &format!("/backups?{bad}")).await.invalid("limit");
    }
    let told = health(&server).await["Backups"].clone();
    assert_eq!((&told["LastID"], &told["LastTime"]), (&taken[0]["ID"], &taken[0]["Time"]));
    assert!((metric(&server, "dragon_backups_total").await - 3.0).abs() < 0.1);
    assert!(metric(&server, "dragon_backup_last_success_timestamp_seconds").await > 1.7e9);

    let answer = Connection::open(server.address())
        .await
        .exchange(b"PUT /backups HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")));
    let none = Server::start();
    take(&none).await.refused(409, "backups_off", json!({}));
    get(&none, "/backups").await.refused(409, "backups_off", json!({}));
    assert_eq!(get(&none, "/health").await.ok(), json!({"Status": "ok"}));
}

#[tokio::test]
async fn a_schedule_goes_on_through_trouble() {
    let s3 = PrivateS3::start();
    s3.when_asked(|_| Does::Refuses(503));
    let server = start(&s3, "2s");
    let account = Account::of(&server, "a");
    account.set("k", "1").await;
    let told = eventually("a failure that is told", async || {
        let told = health(&server).await["Backups"].clone();
        (told["Failures"].as_u64().unwrap() >= 2).then_some(told)
    });
    let told = told.await;
    assert!(told["Error"].as_str().unwrap().contains("SlowDown"), "{told}");
    assert!(metric(&server, "dragon_backup_failures_total").await >= 2.0);
    // What is asked for is told too, unless the schedule is at it in this moment; and all else goes on.
    let answer = take(&server).await;
    assert!(matches!(answer.status, 409 | 502), "{}", answer.text());
    account.set("k", "2").await;
    s3.recover();
    eventually("backups", async || (s3.names("backups").len() >= 2).then_some(())).await;
    let told = eventually("health", async || {
        let told = health(&server).await["Backups"].clone();
        (told["Failures"] == 0 && told["Error"].is_null()).then_some(told)
    });
    told.await;
}

#[tokio::test]
async fn accounts_come_back_by_command() {
    let s3 = PrivateS3::start();
    let server = start(&s3, "never");
    let url = format!("http://{}", server.address());
    let (one, other) = (Account::of(&server, "one"), Account::of(&server, "other"));
    one.set("k", "\"first\"").await;
    other.set("k", "1").await;
    let (kept_one, kept_other) = (export(&one).await, export(&other).await);
    let settings = settings(&s3, &[]);
    let first = succeed_with(&["backup", "now", "--server", &url], &settings).await.output;
    one.set("k", "\"second\"").await;
    let second = take(&server).await.ok()["ID"].as_str().unwrap().to_owned();

    let list = succeed_with(&["backup", "list"], &settings).await.output;
    assert_eq!(ids(&list), [first.trim(), &second]);
    let verified = succeed_with(&["backup", "verify"], &settings).await.output;
    assert_eq!(verified, format!("{second} one: whole, 1 rows\n{second} other: whole, 1 rows\n"));

    let folder = tempdir().unwrap();
    let store = format!("embedded:{}", folder.path().join("data").display());
    let time = time_of(&first);
    let at_first = ["backup", "restore", "--store", &store, "--at", &time];
    let log = succeed_with(&at_first, &settings).await.log;
    assert!(log.contains("restored one: 1 rows") && log.contains("restored other: 1 rows"), "{log}");
    let refused = fail_with(&["backup", "restore", "--store", &store], &settings).await;
    assert!(refused.contains("the store is not empty"), "{refused}");
    assert_eq!(rows_of(&store, "one").await, rows(&kept_one));

    // Into a server that runs, one account of the first.
    one.set("k", "\"third\"").await;
    let mut arguments = vec!["backup", "restore", "--server", &url, "--at", &time, "--account", "one"];
    let refused = fail_with(&arguments, &settings).await;
    assert!(refused.contains("not_empty"), "{refused}");
    arguments.push("--force");
    succeed_with(&arguments, &settings).await;
    assert_eq!(rows(&export(&one).await), rows(&kept_one));
    assert_eq!(export(&other).await, kept_other);

    for (arguments, told) in [
        (vec!["backup", "list", "--backup-to", "backups"], "s3://BUCKET"),
        (vec!["backup", "list", "--backup-to", "s3://nowhere"], "NoSuchBucket"),
        (vec!["backup", "verify", "--at", "yesterday"], "2026-11-27T06:00:00Z"),
        (vec!["backup", "verify", "--at", "2001-01-01T00:00:00Z"], "there is no such backup"),
        (vec!["backup", "restore", "--store", "memory:", "--account", "nobody"], "has no account nobody"),
        (vec!["backup", "verify", "--backup-age-identity", "nowhere"], "nowhere"),
        (vec!["serve", "--backup-every", "often"], "1h"),
        (vec!["serve", "--backup-keep", "some"], "7d"),
        (vec!["serve", "--backup-sse", "rot13"], "AES256"),
        (vec!["serve", "--backup-age-recipient", "age1nobody"], "age1"),
    ] {
        let log = fail_with(&arguments, &settings).await;
        assert!(log.contains(told), "{arguments:?}: {log}");
    }
}

/// The rows of an account of a store that nobody serves.
async fn rows_of(store: &str, account: &str) -> Vec<String> {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file").display().to_string();
    succeed_with(&["export", "--store", store, "--account", account, "-o", &file], &[]).await;
    rows(&std::fs::read(&file).unwrap())
}

/// All that is listed is whole, and the last one holds what is there.
async fn check_all(s3: &PrivateS3, account: &Account) {
    let settings = settings(s3, &[]);
    let list = succeed_with(&["backup", "list"], &settings).await.output;
    for id in ids(&list) {
        succeed_with(&["backup", "verify", "--at", &time_of(&id)], &settings).await;
    }
    let folder = tempdir().unwrap();
    let store = format!("embedded:{}", folder.path().join("data").display());
    succeed_with(&["backup", "restore", "--store", &store], &settings).await;
    assert!(rows_of(&store, &account.name).await == rows(&export(account).await), "not the same");
}

#[tokio::test]
async fn a_server_killed_during_a_backup_takes_the_next_one() {
    let s3 = PrivateS3::start();
    let mut server = start(&s3, "1s");
    fill(&Account::of(&server, "a"), 5).await;
    for moment in [0, 2, 4] {
        let before = s3.names("backups").len();
        Account::of(&server, "a").set("changes", &moment.to_string()).await;
        // Its first, second, … request that changes something takes a while.
        let mut count = 0;
        s3.when_asked(move |seen| {
            count += usize::from(seen.method != "GET");
            if count > moment { Does::IsSlow(Duration::from_millis(500)) } else { Does::Answers }
        });
        drop(s3.take_seen());
        eventually_within(ASIDE_PATIENCE, "it is under way", async || {
            let seen = s3.take_seen();
            seen.iter().any(|seen| seen.method != "GET").then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.kill();
        s3.recover();
        server.start_again();
        // The lock of the one that is gone is free after ten seconds.
        eventually_within(ASIDE_PATIENCE, "the next backup", async || {
            (s3.names("backups").len() > before + 1).then_some(())
        })
        .await;
    }
    check_all(&s3, &Account::of(&server, "a")).await;
}

#[tokio::test]
async fn a_restore_that_is_killed_is_done_again() {
    let s3 = PrivateS3::start();
    let server = start(&s3, "never");
    let account = Account::of(&server, "a");
    fill(&account, 12).await;
    Account::of(&server, "z").set("k", "1").await;
    take(&server).await.ok();
    let (kept, settings) = (export(&account).await, settings(&s3, &[]));
    let folder = tempdir().unwrap();
    for moment in 0..3_u32 {
        let store = format!("embedded:{}", folder.path().join(moment.to_string()).display());
        let mut restoring = Frontend::command(&["backup", "restore", "--store", &store], &settings);
        let mut restoring = restoring.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually_within(ASIDE_PATIENCE, "the download", async || {
            s3.take_seen().iter().any(|seen| seen.path.contains("accounts/a/")).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(120) * moment).await;
        restoring.kill().unwrap();
        restoring.wait().unwrap();
        succeed_with(&["backup", "restore", "--store", &store, "--force"], &settings).await;
        assert!(rows_of(&store, "a").await == rows(&kept), "not the same");
    }
}

/// As on a full disk, writing fails at some size of the files.
#[tokio::test]
async fn a_disk_that_is_full_restores_nothing_by_halves() {
    let s3 = PrivateS3::start();
    let server = start(&s3, "never");
    let account = Account::of(&server, "a");
    fill(&account, 12).await;
    take(&server).await.ok();
    let settings = settings(&s3, &[]);
    let folder = tempdir().unwrap();
    let store = format!("embedded:{}", folder.path().join("data").display());
    // A log file of its own size always fits.
    let restore = ["backup", "restore", "--store", &store, "--force", "--log-file-bytes", "65536"];
    for blocks in [2_000, 6_000] {
        let settings = settings.clone();
        let restore = restore.map(str::to_owned);
        let running = tokio::task::spawn_blocking(move || {
            let restore = restore.each_ref().map(String::as_str);
            Frontend::run_to_end_in_shell(
                &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""),
                &restore,
                &settings,
            )
        });
        let exit = running.await.unwrap();
        assert!(exit.code.is_some_and(|code| code != 0), "{}", exit.log);
        assert!(exit.log.contains("error: the account a can't be restored"), "{}", exit.log);
        assert_eq!(rows_of(&store, "a").await.len(), 0, "all of it or nothing");
    }
    succeed_with(&restore, &settings).await;
    assert!(rows_of(&store, "a").await == rows(&export(&account).await), "not the same");
}

#[tokio::test]
async fn a_backup_that_nobody_waits_for_is_taken_to_its_end() {
    let s3 = PrivateS3::start();
    let server = start(&s3, "never");
    Account::of(&server, "a").set("k", "1").await;
    s3.when_asked(
        |seen| {
            if seen.is_upload() { Does::IsSlow(Duration::from_millis(300)) } else { Does::Answers }
        },
    );
    let mut connection = Connection::open(server.address()).await;
    connection.send(b"POST /backups HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    eventually_within(ASIDE_PATIENCE, "it is under way", async || {
        s3.take_seen().iter().any(Seen::is_upload).then_some(())
    })
    .await;
    take(&server).await.refused(409, "backup_under_way", json!({}));
    drop(connection);
    eventually_within(ASIDE_PATIENCE, "the backup", async || (s3.names("backups").len() == 1).then_some(()))
        .await;
}
