//! Export and import: all of an account, whole or not at all, whatever comes between.

use crate::support::{Account, Answer, Connection, Server, eventually, json_text, shared_account};
use serde_json::{Value, json};
use std::time::Duration;

/// The bytes of an import.
fn import_bytes(path: &str, media_type: &str, file: &[u8]) -> Vec<u8> {
    let length = file.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), file].concat()
}

pub async fn import(account: &Account, query: &str, file: &[u8]) -> Answer {
    let bytes = import_bytes(&(account.path("import") + query), "application/x-ndjson", file);
    Connection::open(account.address()).await.exchange(&bytes).await
}

pub async fn export(account: &Account) -> Vec<u8> {
    let answer = Connection::open(account.address()).await.get(&account.path("export")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    answer.body
}

/// The lines between the first and the last, in which the account's revision is.
pub fn rows(file: &[u8]) -> Vec<String> {
    let lines: Vec<&str> = std::str::from_utf8(file).unwrap().lines().collect();
    lines[1..lines.len() - 1].iter().map(|line| (*line).to_owned()).collect()
}

fn revision(file: &[u8]) -> u64 {
    let first: Value = serde_json::from_slice(file.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    first["Revision"].as_u64().unwrap()
}

/// Some of everything, more than a request can have. Returns the lock's handle.
pub async fn fill(account: &Account, mark: &str) -> u64 {
    for large in 0..12 {
        let value = json_text(&mark.repeat(1_000_000));
        account.db(format!(r#"{{"KVSet":[{{"Key":"large{large}","Value":{value}}}]}}"#)).await.ok();
    }
    for first in (0..2_000).step_by(1_000) {
        let sets: Vec<String> = (first..first + 1_000)
            .map(|at| format!(r#"{{"Key":"{mark}{at}","Value":{{"b": {at}, "a":"\ud800{mark}"}}}}"#))
            .collect();
        account.db(format!(r#"{{"KVSet":[{}]}}"#, sets.join(","))).await.ok();
    }
    account.db("{\"KVSet\":[{\"Key\":\"lines\",\"Value\":[1,\n 2],\"TTL\":3600},{\"Key\":\"null\",\"Value\":null}]}").await.ok();
    account.db(r#"{"IdempotencyIDs":["i","j"],"Atomic":[{"Key":"n","Add":-7}]}"#).await.ok();
    account.db(r#"{"LockID":"l","LockDur":3600,"LockOwner":"me \"é\""}"#).await.number("Lock")
}

#[tokio::test]
async fn an_account_comes_back_as_it_was() {
    let account = shared_account();
    let handle = fill(&account, "x").await;
    let file = export(&account).await;
    assert!(file.len() > 12_000_000);
    let other = account.other();
    let imported = import(&other, "", &file).await.ok();
    assert_eq!(imported, json!({"Rows": rows(&file).len(), "Version": revision(&file) + (1 << 32)}));
    let again = export(&other).await;
    assert!(rows(&again) == rows(&file), "not the same");
    assert_eq!(revision(&again), imported["Version"].as_u64().unwrap());

    assert_eq!(other.get("lines").await.1.unwrap(), "[1,\n 2]");
    assert_eq!(other.get("x7").await, account.get("x7").await, "with its version");
    let shown = other.held_lock("l").await.unwrap();
    assert_eq!((&shown["Lock"], &shown["Owner"]), (&json!(handle), &json!("me \"é\"")));
    let again = other.db(r#"{"IdempotencyIDs":["j"],"Atomic":[{"Key":"n","Add":-7}]}"#).await;
    let response = json!({"Atomic": [{"Key": "n", "Value": -7}], "Version": handle - 1});
    let fields = json!({"ID": "j", "Response": response, "SameRequest": false});
    again.refused(409, "duplicate_request", fields);
    other.unlock("l", handle).await;
    assert!(other.next_revision().await > revision(&file) + (1 << 32));
}

#[tokio::test]
async fn an_import_is_refused_in_clear_words_and_changes_nothing() {
    let account = shared_account();
    account.set("k", "1").await;
    let file = export(&account).await;
    let other = account.other();
    other.set("k", "2").await;
    let before = export(&other).await;

    import(&other, "", &file).await.refused(409, "not_empty", json!({}));
    import(&other, "?mode=empty", &file).await.refused(409, "not_empty", json!({}));
    let cut = import(&other, "?mode=replace", &file[..file.len() - 9]).await;
    let message = cut.refused(400, "invalid_request", json!({}));
    assert!(message.contains("line 3"), "{message}");
    for bad in [&file[..file.len() / 2], b"{}", b"", b"\xff\xfe", b"{\"KVSet\":[]}\n"] {
        import(&other, "?mode=replace", bad).await.refused(400, "invalid_request", json!({}));
    }
    import(&other, "?mode=merge", &file).await.refused(400, "invalid_request", json!({}));
    let declared = import_bytes(&other.path("import"), "application/json", &file);
    let answer = Connection::open(other.address()).await.exchange(&declared).await;
    answer.refused(415, "unsupported_media_type", json!({}));
    for path in ["/import/..", "/import/a%20b"] {
        let answer = Connection::open(other.address()).await;
        let answer = { answer }.exchange(&import_bytes(path, "application/x-ndjson", &file)).await;
        answer.refused(400, "invalid_request", json!({}));
    }
    assert_eq!(export(&other).await, before);
    let answer = Connection::open(other.address()).await.get(&other.path("import")).await;
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = account.begin("export", "{}").await.answer().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
}

#[tokio::test]
async fn a_replaced_key_wakes_its_watchers() {
    let account = shared_account();
    account.set("k", "\"new\"").await;
    let file = export(&account).await;
    let other = account.other();
    let seen = other.set("k", "\"old\"").await + other.set("gone", "1").await;
    let seen = other.set("k", "\"old\"").await.max(seen);
    let (_, gone) = (other.get("k").await, other.get("gone").await.0);
    let changed = other.begin("watch", json!({"ID": "k", "Version": seen, "Wait": 50}).to_string()).await;
    let deleted = other.begin("watch", json!({"ID": "gone", "Version": gone, "Wait": 50}).to_string()).await;
    import(&other, "?mode=replace", &file).await.ok();
    assert_eq!(changed.answer().await.ok()["Value"], "new");
    assert_eq!(deleted.answer().await.ok(), json!({"Key": "gone", "Version": 0}));
}

#[tokio::test]
async fn accounts_are_listed_by_pages() {
    let server = Server::start();
    let names = ["-", "0", "A", "a", "b.c", "x_y"];
    for name in names {
        Account::of(&server, name).set("k", "1").await;
    }
    let ask = async |query: &str| {
        let mut connection = Connection::open(server.address()).await;
        connection.get(&format!("/accounts{query}")).await
    };
    // An import leaves what is the server's own.
    let file = export(&Account::of(&server, "a")).await;
    import(&Account::of(&server, "b.c"), "?mode=replace", &file).await.ok();
    let listed = |names: &[&str]| names.iter().map(|name| json!({"Account": name})).collect::<Vec<_>>();
    assert_eq!(ask("").await.ok(), json!({"Accounts": listed(&names)}));
    assert_eq!(ask("?limit=2").await.ok(), json!({"Accounts": listed(&["-", "0"]), "More": true}));
    assert_eq!(ask("?limit=4&after=0").await.ok(), json!({"Accounts": listed(&["A", "a", "b.c", "x_y"])}));
    assert_eq!(ask("?after=x_y").await.ok(), json!({"Accounts": []}));
    // The rows of the account and of the key: account, NUL, kind, then what a row begins with, then the content.
    let bytes = (2 + 1 + 17 + 8) + (2 + 1 + 1 + 17 + 1);
    let sized = json!({"Accounts": [{"Account": "-", "Bytes": bytes}], "More": true});
    assert_eq!(ask("?limit=1&sizes=true").await.ok(), sized);
    for bad in ["?sizes=1", "?limit=0", "?limit=1001", "?limit=x", "?after=..", "?after=a%20b"] {
        ask(bad).await.refused(400, "invalid_request", json!({}));
    }
}

/// However much is in the account: beside what the same writes take as requests it is next to nothing.
#[tokio::test]
async fn memory_is_bounded_on_the_way_out_and_in() {
    const VALUES: usize = 256;
    const GROWTH_KIB_MAX: u64 = 64 << 10;
    let server = Server::start();
    let account = Account::of(&server, "large");
    let value = json_text(&"v".repeat((1 << 20) - 2));
    for first in (0..VALUES).step_by(4) {
        let sets: Vec<String> =
            (first..first + 4).map(|at| format!(r#"{{"Key":"k{at}","Value":{value}}}"#)).collect();
        account.db(format!(r#"{{"KVSet":[{}]}}"#, sets.join(","))).await.ok();
    }
    let before = server.most_memory_kib();
    let file = export(&account).await;
    assert!(file.len() > VALUES << 20);
    let exported = server.most_memory_kib();
    import(&account.named("copy"), "", &file).await.ok();
    let imported = server.most_memory_kib();
    println!("{before} KiB before, {exported} after the export, {imported} after the import");
    assert!(imported - before < GROWTH_KIB_MAX, "{before} {exported} {imported}");
}

/// Wherever a kill hits an import, the account has the one content or the other afterwards, and is open again.
#[tokio::test]
async fn a_kill_leaves_no_import_half_done() {
    let mut server = Server::start();
    let source = Account::of(&server, "source");
    fill(&source, "x").await;
    let new = export(&source).await;
    let (mut undone, mut done) = (0, 0);
    for round in 0..6_u64 {
        let name = format!("target{round}");
        let target = Account::of(&server, &name);
        fill(&target, "y").await;
        let old = export(&target).await;
        let bytes = import_bytes(&(target.path("import") + "?mode=replace"), "application/x-ndjson", &new);
        let mut importing = Connection::open(target.address()).await;
        importing.send(&bytes).await.unwrap();
        tokio::time::sleep(Duration::from_millis(round * 60)).await;
        server.kill();
        server.start_again();
        let target = Account::of(&server, &name);
        eventually("an account that is open again", async || {
            (target.db(r#"{"KVGet":[{"Key":"k"}]}"#).await.status == 200).then_some(())
        })
        .await;
        let now = export(&target).await;
        if rows(&now) == rows(&old) {
            undone += 1;
        } else {
            assert!(rows(&now) == rows(&new), "round {round}: neither the one nor the other");
            done += 1;
        }
        // The next import finds the way free, once the lease of the killed one is over.
        eventually("another import", async || {
            let answer = import(&target, "?mode=replace", &new).await;
            (answer.status == 200).then_some(())
        })
        .await;
        assert!(rows(&export(&target).await) == rows(&new));
    }
    println!("{undone} undone, {done} done");
}

#[tokio::test]
async fn a_deleted_account_is_gone_and_its_revision_is_not() {
    let mut server = Server::start();
    let account = Account::of(&server, "doomed");
    let other = Account::of(&server, "other");
    let delete = async |account: &Account| {
        let request = format!("DELETE /accounts/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", account.name);
        Connection::open(account.address()).await.exchange(request.as_bytes()).await
    };
    let names = async || {
        let answer = Connection::open(account.address()).await.get("/accounts").await.ok();
        answer["Accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|listed| listed["Account"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // What is not there stays as it is.
    assert_eq!(delete(&account).await.number("Version"), 0);
    assert_eq!(names().await, [""; 0]);
    fill(&account, "x").await;
    other.set("k", "1").await;
    let handle = account.lock("held", 300).await;
    let version = account.set("watched", "1").await;
    let watching =
        account.begin("watch", format!(r#"{{"ID":"watched","Version":{version},"Wait":60}}"#)).await;
    assert_eq!(names().await, ["doomed", "other"]);

    let deleted = delete(&account).await.number("Version");
    assert_eq!(deleted, version + 1);
    assert_eq!(watching.answer().await.ok(), json!({"Key": "watched", "Version": 0}));
    assert_eq!(names().await, ["other"]);
    for kind in ["KV", "Counters", "Locks"] {
        assert_eq!(account.list(json!({"Kind": kind}).to_string()).await.ok(), json!({kind: []}));
    }
    let unlock = json!({"UnlockID": "held", "Unlock": handle}).to_string();
    account.db(unlock).await.refused(409, "not_locked", json!({"ID": "held"}));
    assert_eq!(delete(&account).await.number("Version"), deleted);
    server.restart();
    let account = Account::of(&server, "doomed");
    assert!(account.lock("held", 300).await > deleted, "a handle came again");
    let answer = Connection::open(account.address()).await.get("/accounts").await.ok();
    assert_eq!(answer, json!({"Accounts": [{"Account": "doomed"}, {"Account": "other"}]}));
}
