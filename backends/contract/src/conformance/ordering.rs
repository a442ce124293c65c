//! All or nothing, and in which order.

use super::client::{Client, applied, ask, batch, cell, in_time, json, number, refused};
use crate::Backend;
use dragon_core::cell::Kind;
use dragon_core::verdict::{Rejection, Verdict};
use serde_json::json;
use std::sync::Arc;

/// A refused request leaves nothing, alone or between others of its batch.
pub async fn atomicity(store: Arc<dyn Backend>) {
    let name = "atomicity";
    let client = Client::new(store);
    let refused_ask =
        || ask(name).set("k", "2").set("new", "2").delete("gone").add("c", 5).lock("l", 60).once(&["i"]);
    let version =
        number(&client.answer(ask(name).set("k", "1").set("gone", "1").add("c", 1)).await, "Version");
    let verdicts = client
        .commit([
            ask(name).add("before", 1),
            refused_ask().set("cond", "2").if_version(9),
            ask(name).add("between", 1),
            refused_ask().add("d", 0).if_eq(3),
            refused_ask().set_counter("o", i64::MAX).add("o", 1),
            refused_ask().unlock("never", 1),
            ask(name).add("after", 1),
        ])
        .await;
    let is_applied: Vec<bool> =
        verdicts.iter().map(|verdict| matches!(verdict, Verdict::Applied(_))).collect();
    assert_eq!(is_applied, [true, false, true, false, false, false, true], "{verdicts:?}");
    assert_eq!(client.revision(name).await, version + 3);
    let read = ask(name).get("k").get("new").get("gone").get("cond").count("c").count("o").count("after");
    let answer = client.answer(read).await;
    let value = |key: &str, json: i64| json!({"Key": key, "Version": version, "Value": json});
    let absent = |key: &str| json!({"Key": key, "Version": 0});
    assert_eq!(answer["KV"], json!([value("k", 1), absent("new"), value("gone", 1), absent("cond")]));
    let counts: Vec<&serde_json::Value> =
        answer["Atomic"].as_array().into_iter().flatten().map(|entry| &entry["Value"]).collect();
    assert_eq!(counts, [1, 0, 1]);
    let loaded = client.load(&[cell(name, Kind::Lock, "l"), cell(name, Kind::Idempotency, "i")]).await;
    assert_eq!(loaded.rows, [None, None]);
}

/// Conditions and reads see the state before the request, counters change in order.
pub async fn order_within_a_request(store: Arc<dyn Backend>) {
    let name = "order-request";
    let client = Client::new(store);
    let version = number(&client.answer(ask(name).set("k", "1").set_counter("c", 10)).await, "Version");
    let swap = ask(name)
        .set("k", "2")
        .if_version(version)
        .get("k")
        .add("c", 1)
        .if_eq(10)
        .count("c")
        .delete_counter("c")
        .add("c", 7)
        .if_eq(10);
    let answer = client.answer(swap).await;
    assert_eq!(answer["KV"], json!([{"Key": "k", "Version": version, "Value": 1}]));
    let counts: Vec<_> = answer["Atomic"].as_array().into_iter().flatten().map(|c| &c["Value"]).collect();
    assert_eq!(counts, [11, 11, 0, 7]);
    let after = client.answer(ask(name).get("k").count("c")).await;
    assert_eq!(after["KV"], json!([{"Key": "k", "Version": version + 1, "Value": 2}]));
    assert_eq!(after["Atomic"], json!([{"Key": "c", "Value": 7}]));
}

/// A later entry of a batch sees what an earlier one did: its values, counters, locks and ids.
pub async fn order_within_a_batch(store: Arc<dyn Backend>) {
    let name = "order-batch";
    let client = Client::new(store);
    let first = client.revision(name).await + 1;
    let mut verdicts = client
        .commit([
            ask(name).set("k", "1").if_version(0).lock("l", 60).once(&["i"]),
            ask(name).set("k", "2").if_version(0),
            ask(name).set("k", "2").if_version(first),
            ask(name).lock("l", 60),
            ask(name).unlock("l", first),
            ask(name).lock("l", 60),
            ask(name).once(&["i"]),
            ask(name).delete("k"),
            ask(name).get("k"),
        ])
        .await;
    let last = json(&applied(verdicts.remove(8)).answer);
    assert_eq!(last["KV"], json!([{"Key": "k", "Version": 0}]));
    let duplicate = refused(verdicts.remove(6));
    assert!(matches!(duplicate, Rejection::DuplicateRequest { response: Some(_), .. }), "{duplicate:?}");
    assert_eq!(number(&json(&applied(verdicts.remove(5)).answer), "Lock"), first + 3);
    assert!(matches!(verdicts[3], Verdict::Blocked(_)), "{:?}", verdicts[3]);
    let key = "k".to_owned();
    assert_eq!(refused(verdicts.remove(1)), Rejection::VersionMismatch { key, version: first });
    assert_eq!(client.revision(name).await, first + 4);
}

/// Commits apply in the order of the calls, as many at once as the store allows.
pub async fn order_of_pipelined_commits(store: Arc<dyn Backend>) {
    let name = "order-pipeline";
    let mut expected = 0;
    for round in 0..30 {
        let calls: Vec<_> = (0..store.pipeline_depth().max(1))
            .map(|_| store.commit(batch([ask(name).add("c", 1), ask(name).add("c", 1)])))
            .collect();
        // Whoever polls them, and in which order, must not matter.
        let mut calls: Vec<_> = calls.into_iter().map(tokio::spawn).enumerate().collect();
        if round % 2 == 1 {
            calls.reverse();
        }
        let first = expected;
        for (at, call) in calls {
            let outcome = in_time(call).await.expect("no panic").expect("the batch is committed");
            for (entry, verdict) in outcome.verdicts.into_iter().enumerate() {
                let count = json(&applied(verdict).answer)["Atomic"][0]["Value"].clone();
                assert_eq!(count, first + 2 * at + entry + 1, "commit {at} of round {round}");
                expected += 1;
            }
        }
    }
}

/// A commit happens though nobody waits for it.
pub async fn a_dropped_commit_happens(store: Arc<dyn Backend>) {
    let name = "dropped-commit";
    let client = Client::new(Arc::clone(&store));
    let key = cell(name, Kind::Value, "k");
    for round in 0..20 {
        let seen = client.stamp(&key).await;
        drop(store.commit(batch([ask(name).set("k", round.to_string())])));
        in_time(async {
            while client.stamp(&key).await == seen {
                store.changed(&key, seen).await.expect("the row can be watched");
            }
        })
        .await;
    }
}

/// What was answered can be read, by every way of reading.
pub async fn reads_follow_answers(store: Arc<dyn Backend>) {
    let name = "reads-follow";
    let client = Client::new(store);
    let key = cell(name, Kind::Value, "k");
    for _ in 0..100 {
        let version = number(&client.answer(ask(name).set("k", "1")).await, "Version");
        assert_eq!(client.stamp(&key).await, version);
        assert_eq!(client.revision(name).await, version);
        let page = super::lists::page(&client, super::lists::query(name, Kind::Value, "", "", 10)).await;
        assert_eq!(super::lists::stamps(&page), [version]);
    }
}
