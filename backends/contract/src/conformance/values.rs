//! Values and counters: versions, deletion, expiry, and bytes that come back as they went.

use super::client::{Client, ask, cell, number};
use crate::Backend;
use dragon_core::cell::Kind;
use dragon_core::verdict::Rejection;
use serde_json::json;
use std::sync::Arc;

/// Every applied write raises the revision by one and stamps what it wrote; nothing else does.
pub async fn revisions(store: Arc<dyn Backend>) {
    let name = "revisions";
    let client = Client::new(store);
    let mut revision = client.revision(name).await;
    let writes = [
        ask(name).set("k", "1").set("l", "1"),
        ask(name).delete("k"),
        ask(name).delete("never-there"),
        ask(name).add("c", 0),
        ask(name).set_counter("c", 5),
        ask(name).delete_counter("c"),
        ask(name).once(&["i"]),
        ask(name).lock("m", 60),
    ];
    for write in writes {
        client.apply(write).await;
        revision += 1;
        assert_eq!(client.revision(name).await, revision);
    }
    let handle = revision;
    client.apply(ask(name).get("l").count("c").if_eq(0)).await;
    client.refusal(ask(name).set("k", "1").if_version(3)).await;
    client.refusal(ask(name).once(&["i"])).await;
    client.blocked(ask(name).lock("m", 60)).await;
    client.refusal(ask(name).unlock("m", handle + 1)).await;
    assert_eq!(client.revision(name).await, revision, "neither reads nor refusals raise it");
    client.apply(ask(name).unlock("m", handle).lock("m", 0)).await;
    client.apply(ask(name).unlock("m", handle)).await;
    assert_eq!(client.revision(name).await, revision + 2);
    let loaded = client.load(&[cell(name, Kind::Value, "k"), cell(name, Kind::Counter, "c")]).await;
    assert_eq!(loaded.rows, [None, None]);
}

/// A key that is made again has a higher version than it ever had.
pub async fn versions_only_rise(store: Arc<dyn Backend>) {
    let name = "versions";
    let client = Client::new(store);
    let mut last = 0;
    for _ in 0..10 {
        let created = number(&client.answer(ask(name).set("k", "1").if_version(0)).await, "Version");
        assert!(created > last);
        let refusal = client.refusal(ask(name).set("k", "2").if_version(0)).await;
        assert_eq!(refusal, Rejection::VersionMismatch { key: "k".into(), version: created });
        let changed = ask(name).set("k", "2").if_version(created).get("k");
        last = number(&client.answer(changed).await, "Version");
        assert!(last > created);
        client.apply(ask(name).delete("k").if_version(last)).await;
        let refusal = client.refusal(ask(name).delete("k").if_version(last)).await;
        assert_eq!(refusal, Rejection::VersionMismatch { key: "k".into(), version: 0 });
    }
}

/// Values and names come back byte for byte.
pub async fn bytes_as_sent(store: Arc<dyn Backend>) {
    let name = "bytes";
    let client = Client::new(store);
    let values = [
        r#""\u0041\ud800\/""#,
        "18446744073709551616",
        "1.00e+2",
        r#"{"b":1,"a":{"b":[ ]},"b":null}"#,
        "null",
        "\"\u{1f409} \u{7f}\"",
    ];
    for (at, value) in values.into_iter().enumerate() {
        let key = ["k", "é\u{1f409}", " ", "a\"\\b", "\u{1}\n", "%_/\u{ffff}"][at];
        let version = number(&client.answer(ask(name).set(key, value)).await, "Version");
        let answer = client.apply(ask(name).get(key)).await.answer;
        let key = serde_json::Value::from(key);
        let expected = format!("{{\"KV\":[{{\"Key\":{key},\"Version\":{version},\"Value\":{value}}}]}}");
        assert_eq!(std::str::from_utf8(&answer), Ok(&expected[..]));
    }
    let longest = "ö".repeat(256);
    client.apply(ask(name).set(&longest, "1").add(&longest, 1).once(&[&longest]).lock(&longest, 60)).await;
    let answer = client.answer(ask(name).get(&longest).count(&longest)).await;
    assert_eq!((&answer["KV"][0]["Value"], &answer["Atomic"][0]["Value"]), (&json!(1), &json!(1)));
}

/// A value's TTL ends it, a write without one lets it stay, and expiry raises no revision.
pub async fn value_expiry(store: Arc<dyn Backend>) {
    let name = "value-expiry";
    let client = Client::new(store);
    let both = ask(name).set("short", "1").ttl(1).set("kept", "1").ttl(1).set("long", "1").ttl(600);
    let version = number(&client.answer(both).await, "Version");
    client.apply(ask(name).set("kept", "2")).await;
    client.outlive(1).await;
    let answer = client.answer(ask(name).get("short").get("kept").get("long")).await;
    let expected = json!([
        {"Key": "short", "Version": 0},
        {"Key": "kept", "Version": version + 1, "Value": 2},
        {"Key": "long", "Version": version, "Value": 1},
    ]);
    assert_eq!(answer["KV"], expected);
    assert_eq!(client.revision(name).await, version + 1);
    let again = ask(name).set("short", "3").if_version(0).get("short");
    assert_eq!(number(&client.answer(again).await, "Version"), version + 2);
}

/// Counters are signed 64-bit numbers; one that would overflow refuses the request.
pub async fn counters(store: Arc<dyn Backend>) {
    let name = "counters";
    let client = Client::new(store);
    let edges = ask(name).count("c").add("c", i64::MIN).set_counter("d", i64::MAX).add("d", 0);
    let answer = client.answer(edges).await;
    let values: Vec<_> = answer["Atomic"].as_array().into_iter().flatten().map(|c| &c["Value"]).collect();
    assert_eq!(values, [0, i64::MIN, i64::MAX, i64::MAX]);
    for (key, add) in [("c", -1), ("d", 1), ("d", i64::MAX)] {
        let refusal = client.refusal(ask(name).add("fine", 1).add(key, add)).await;
        assert_eq!(refusal, Rejection::CounterOverflow { key: key.into() });
    }
    let refusal = client.refusal(ask(name).add("d", -1).if_eq(3)).await;
    assert_eq!(refusal, Rejection::ValueMismatch { key: "d".into(), value: i64::MAX });
    let answer = client.answer(ask(name).delete_counter("c").if_eq(i64::MIN).count("fine")).await;
    assert_eq!(answer["Atomic"], json!([{"Key": "c", "Value": 0}, {"Key": "fine", "Value": 0}]));
    // Values, counters, locks and ids are separate name spaces.
    let same = ask(name).set("same", "\"v\"").add("same", 3).lock("same", 60).once(&["same"]);
    client.apply(same).await;
    let answer = client.answer(ask(name).get("same").count("same")).await;
    assert_eq!((&answer["KV"][0]["Value"], &answer["Atomic"][0]["Value"]), (&json!("v"), &json!(3)));
}
