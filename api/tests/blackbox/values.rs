//! Values: kept to the byte, versions, conditions, time to live.

use crate::support::{Account, Connection, eventually, json_text, raw_values, shared_account};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

/// JSON that a parser would change, or stumble over.
const AWKWARD: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1.10",
    "1E400",
    "1e-400",
    "9007199254740993",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "123456789012345678901234567890.123456789012345678901234567890",
    r#""""#,
    r#""\u0041\/\b\f\n\r\t\"\\""#,
    r#""\u0000""#,
    r#""\ud83d\ude00 😀 \uD83D\uDE00""#,
    r#""\ud800""#,
    r#"{"\udfff":"\udc00\ud800"}"#,
    "\"\u{7f}\u{80}\u{2028}\u{feff}\u{10ffff}\"",
    r#"{"b":1,"a":2,"b":3,"":{}}"#,
    "{ \"a\" :\t[ 1 ,\r\n 2 ] }",
    "[]",
    "{}",
    "[[],{},[[]]]",
];

#[tokio::test]
async fn values_are_kept_to_the_byte() {
    let account = shared_account();
    for (at, value) in AWKWARD.iter().enumerate() {
        let key = format!("k{at:02}");
        let version = account.set(&key, &format!(" \t\r\n{value} \n")).await;
        assert_eq!(account.get(&key).await, (version, Some((*value).to_owned())));
        let watched = account.watch(json!({"ID": key, "Version": 0}).to_string()).await.ok_text();
        assert_eq!(crate::support::raw_field(&watched, "Value").as_deref(), Some(*value));
    }
    let listed = account.list("{}").await.ok_text();
    let listed: Vec<_> = raw_values(&listed).into_iter().map(|(_, value)| value.unwrap()).collect();
    assert_eq!(listed, AWKWARD);
}

#[tokio::test]
async fn depth_and_size_of_a_value_have_an_exact_limit() {
    let account = shared_account();
    let deepest = "[".repeat(128) + &"]".repeat(128);
    account.set("deep", &deepest).await;
    assert_eq!(account.get("deep").await.1, Some(deepest.clone()));
    let mixed = r#"{"a":["#.repeat(64) + "1" + &"]}".repeat(64);
    account.set("mixed", &mixed).await;
    let brackets_in_text = json_text(&"[{".repeat(1_000));
    account.set("text", &brackets_in_text).await;
    for deeper in [format!("[{deepest}]"), format!(r#"{{"a":{mixed}}}"#)] {
        let body = format!(r#"{{"KVSet":[{{"Key":"deep","Value":{deeper}}}]}}"#);
        account.db(body).await.invalid("Value");
    }
    let largest = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    account.set("large", &format!("  {largest}  ")).await;
    assert_eq!(account.get("large").await.1, Some(largest.clone()));
    let body = format!(r#"{{"KVSet":[{{"Key":"large","Value":{}}}]}}"#, largest.replacen('x', "xx", 1));
    account.db(body).await.refused(413, "payload_too_large", json!({}));
}

#[tokio::test]
async fn any_text_is_a_key() {
    let account = shared_account();
    let longest = "é".repeat(256);
    let keys =
        ["a", " ", "\u{1}\t\n\"\\/", "\u{feff}", "ключ", "😀", "..", "a/b?c#d%20", "\u{10ffff}", &longest];
    for key in keys {
        let version = account.set(key, "1").await;
        let text = json_text(key);
        let answer = account.db(format!(r#"{{"KVGet":[{{"Key":{text}}}]}}"#)).await.ok();
        assert_eq!(answer["KV"], json!([{"Key": key, "Version": version, "Value": 1}]));
        let watched = account.watch(format!(r#"{{"ID":{text},"Version":0}}"#)).await.ok();
        assert_eq!(watched["Key"], key);
        assert_eq!(account.count(key, 1).await, 1);
        let handle = account.lock(key, 300).await;
        assert_eq!(account.held_lock(key).await.unwrap()["Lock"], handle);
        account.db(json!({"IdempotencyIDs": [key]}).to_string()).await.ok();
    }
    let listed = account.list("{}").await.ok();
    assert_eq!(listed["KV"].as_array().unwrap().len(), keys.len());
    // However it is escaped, it is the same key.
    let escaped = account.db(r#"{"KVGet":[{"Key":"\u0061"},{"Key":"\ud83d\ude00"}]}"#).await.ok();
    assert_eq!((&escaped["KV"][0]["Key"], &escaped["KV"][1]["Key"]), (&json!("a"), &json!("😀")));
    assert_ne!(escaped["KV"][1]["Version"], 0);
}

#[tokio::test]
async fn a_key_made_again_has_a_higher_version() {
    let account = shared_account();
    let first = account.set("k", "1").await;
    let second = account.set("k", "1").await;
    assert_eq!(second, first + 1, "the same value is a new version");
    let deleted = account.db(r#"{"KVSet":[{"Key":"k","Delete":true}]}"#).await.number("Version");
    assert_eq!(account.get("k").await, (0, None));
    let third = account.set("k", "1").await;
    assert!(third > deleted && deleted > second);
    assert_eq!(account.get("k").await.0, third);
}

#[tokio::test]
async fn if_version_guards_sets_and_deletions() {
    let account = shared_account();
    let attempt = |change: &str, version: u64| {
        account.db(format!(r#"{{"KVSet":[{{"Key":"k",{change},"IfVersion":{version}}}]}}"#))
    };
    let (put, delete) = (r#""Value":1"#, r#""Delete":true"#);
    attempt(put, 1).await.refused(409, "precondition_failed", json!({"Key": "k", "Version": 0}));
    assert_eq!(attempt(put, 0).await.ok(), json!({"Version": 1}));
    for wrong in [0, 2, u64::from(u32::MAX)] {
        for change in [put, delete] {
            let answer = attempt(change, wrong).await;
            answer.refused(409, "precondition_failed", json!({"Key": "k", "Version": 1}));
        }
    }
    assert_eq!(attempt(put, 1).await.ok(), json!({"Version": 2}));
    assert_eq!(attempt(delete, 2).await.ok(), json!({"Version": 3}));
    attempt(delete, 2).await.refused(409, "precondition_failed", json!({"Key": "k", "Version": 0}));
    assert_eq!(attempt(delete, 0).await.status, 200);
    assert_eq!(attempt(put, 0).await.status, 200);
}

#[tokio::test]
async fn of_many_creators_one_wins() {
    let account = shared_account();
    let mut creators = JoinSet::new();
    for creator in 0..20 {
        let account = account.clone();
        creators.spawn(async move {
            let body = json!({"KVSet": [{"Key": "k", "Value": creator, "IfVersion": 0}]});
            (creator, account.db(body.to_string()).await)
        });
    }
    let mut winners = Vec::new();
    for (creator, answer) in creators.join_all().await {
        if answer.status == 200 {
            winners.push(creator);
        } else {
            answer.refused(409, "precondition_failed", json!({"Key": "k", "Version": 1}));
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(account.get("k").await, (1, Some(winners[0].to_string())));
}

#[tokio::test]
async fn compare_and_set_loses_no_update() {
    let account = shared_account();
    account.set("sum", "0").await;
    let mut adders = JoinSet::new();
    for _ in 0..5 {
        let account = account.clone();
        adders.spawn(async move {
            for _ in 0..10 {
                while !add_one_by_compare_and_set(&account).await {}
            }
        });
    }
    adders.join_all().await;
    assert_eq!(account.get("sum").await, (51, Some("50".into())));
}

async fn add_one_by_compare_and_set(account: &Account) -> bool {
    let (version, value) = account.get("sum").await;
    let sum: u64 = value.unwrap().parse().unwrap();
    let body = json!({"KVSet": [{"Key": "sum", "Value": sum + 1, "IfVersion": version}]});
    account.db(body.to_string()).await.status == 200
}

#[tokio::test]
async fn a_value_is_gone_after_its_time_and_stays_gone() {
    let account = shared_account();
    account.db(r#"{"KVSet":[{"Key":"k","Value":1,"TTL":1}]}"#).await.ok();
    eventually("the end of the TTL", || async { (account.get("k").await.0 == 0).then_some(()) }).await;
    for _ in 0..20 {
        assert_eq!(account.get("k").await, (0, None));
    }
    assert_eq!(account.list("{}").await.ok(), json!({"KV": []}));
    let watched = account.watch(r#"{"ID":"k","Version":1}"#).await.ok();
    assert_eq!(watched, json!({"Key": "k", "Version": 0}));
    let body = r#"{"KVSet":[{"Key":"k","Value":2,"IfVersion":1}]}"#;
    account.db(body).await.refused(409, "precondition_failed", json!({"Key": "k", "Version": 0}));
    // Expiry raised no revision.
    let body = r#"{"KVSet":[{"Key":"k","Value":2,"IfVersion":0}]}"#;
    assert_eq!(account.db(body).await.ok(), json!({"Version": 2}));
}

#[tokio::test]
async fn a_value_lives_for_all_of_its_time_and_a_write_without_ttl_ends_the_limit() {
    let account = shared_account();
    let body = r#"{"KVSet":[{"Key":"short","Value":1,"TTL":1},{"Key":"renewed","Value":1,"TTL":1},
        {"Key":"longer","Value":1,"TTL":1},{"Key":"century","Value":1,"TTL":3153600000}]}"#;
    let begun = std::time::Instant::now();
    account.db(body).await.ok();
    account.db(r#"{"KVSet":[{"Key":"renewed","Value":2},{"Key":"longer","Value":2,"TTL":300}]}"#).await.ok();
    eventually("the end of the TTL", || async { (account.get("short").await.0 == 0).then_some(()) }).await;
    assert!(begun.elapsed() >= Duration::from_millis(950), "it was gone after {:?}", begun.elapsed());
    assert_eq!(account.get("renewed").await, (2, Some("2".into())));
    assert_eq!(account.get("longer").await, (2, Some("2".into())));
    assert_eq!(account.get("century").await, (1, Some("1".into())));
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let account = shared_account();
    let mut connection = Connection::open(account.address()).await;
    let mut bytes = Vec::new();
    for value in 0..50 {
        let body = json!({"KVSet": [{"Key": "k", "Value": value}], "KVGet": [{"Key": "k"}]});
        bytes.extend(crate::support::request_bytes(&account.path("db"), body.to_string().as_bytes()));
    }
    connection.send(&bytes).await.unwrap();
    for version in 1..=50 {
        let answer = connection.receive().await.ok();
        assert_eq!(answer["Version"], version);
        assert_eq!(answer["KV"][0]["Version"], version - 1);
    }
}
