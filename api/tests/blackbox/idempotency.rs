//! Idempotency ids: a request sent again is told what the first one did.

use crate::support::{Account, Answer, Server, eventually, raw_field, shared_account};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn same_request(answer: &Answer) -> bool {
    assert_eq!(answer.json()["Code"], "duplicate_request", "{}", answer.text());
    answer.json()["SameRequest"].as_bool().unwrap()
}

#[tokio::test]
async fn a_duplicate_is_told_the_first_answer_to_the_byte() {
    let account = shared_account();
    account.set("k", r#"{ "b":1.10, "a":"\u0041" }"#).await;
    let body = r#"{"IdempotencyIDs":["id"],"LockID":"l","LockDur":300,"KVGet":[{"Key":"k"},{"Key":"none"}],
                   "Atomic":[{"Key":"n","Add":2}],"KVSet":[{"Key":"k","Value":"new"}]}"#;
    let first = account.db(body).await.ok_text();
    account.set("k", "\"newer\"").await;
    for _ in 0..3 {
        let duplicate = account.db(body).await;
        assert_eq!(raw_field(duplicate.text(), "Response"), Some(first.clone()));
        let first: Value = serde_json::from_str(&first).unwrap();
        let fields = json!({"ID": "id", "Response": first, "SameRequest": true});
        duplicate.refused(409, "duplicate_request", fields);
    }
    assert_eq!(account.count("n", 0).await, 2);
    assert_eq!(account.get("k").await.1.as_deref(), Some("\"newer\""));
}

const ORIGINAL: &str = r#"{"IdempotencyIDs":["id","\u0069d2"],"IdempotencyTTL":600,"LockID":"l","LockDur":300,
    "Atomic":[{"Key":"n","Add":1},{"Key":"m"}],"KVGet":[{"Key":"k"}],
    "KVSet":[{"Key":"k","Value":{"a": 1.0, "b":"\u0041"},"TTL":60},{"Key":"x","Delete":true}]}"#;

#[tokio::test]
async fn the_same_request_written_differently_is_the_same() {
    let account = shared_account();
    account.db(ORIGINAL).await.ok();
    let differently = [
        ORIGINAL.to_owned(),
        ORIGINAL.replace(['\n', ' '], "").replace(r#"{"a":1.0,"b""#, r#"{"a": 1.0, "b""#),
        ORIGINAL.replace(':', " :\t").replace("{\"a\" :\t 1.0, \"b\" :\t", "{\"a\": 1.0, \"b\":"),
        ORIGINAL.replace("\\u0069d2", "id2").replace(r#""KVSet""#, r#""\u004bVSet""#),
        ORIGINAL.replace(r#""LockID""#, r#""UnlockID":null,"Unlock":null,"LockWait":null,"LockID""#),
        ORIGINAL.replace(r#""Add":1"#, r#""Set":null,"Add":1,"Delete":null,"IfEq":null"#),
        ORIGINAL.replace(r#""TTL":60"#, r#""Delete":null,"TTL":60,"IfVersion":null"#),
        r#"{"KVSet":[{"TTL":60,"Value":{"a": 1.0, "b":"\u0041"},"Key":"k"},{"Delete":true,"Key":"x"}],
            "KVGet":[{"Key":"k"}],"Atomic":[{"Add":1,"Key":"n"},{"Key":"m"}],"LockDur":300,"LockID":"l",
            "IdempotencyTTL":600,"IdempotencyIDs":["id","id2"]}"#
            .into(),
    ];
    for body in differently {
        assert!(same_request(&account.db(&body).await), "{body}");
    }
}

#[tokio::test]
async fn another_request_with_the_same_id_is_not_the_same() {
    let account = shared_account();
    let first = account.db(ORIGINAL).await.ok();
    let others = [
        ("1.0", "1"),
        ("1.0", "1.00"),
        (r#"{"a": 1.0"#, r#"{"a":1.0"#),
        ("\\u0041", "A"),
        (r#""Add":1"#, r#""Add":2"#),
        (r#""Add":1"#, r#""Set":1"#),
        (r#""Add":1"#, r#""Add":1,"IfEq":0"#),
        (r#"{"Key":"n","Add":1},{"Key":"m"}"#, r#"{"Key":"m"},{"Key":"n","Add":1}"#),
        (r#"{"Key":"m"}"#, r#"{"Key":"m"},{"Key":"m"}"#),
        (r#""TTL":60"#, r#""TTL":61"#),
        (r#","TTL":60"#, ""),
        (r#""Key":"x""#, r#""Key":"y""#),
        (r#""KVGet":[{"Key":"k"}]"#, r#""KVGet":[{"Key":"k"},{"Key":"x"}]"#),
        (r#""LockDur":300"#, r#""LockDur":301"#),
        (r#""LockID":"l""#, r#""LockID":"l","LockOwner":"me""#),
        (r#""LockID":"l","LockDur":300,"#, ""),
    ];
    for (from, to) in others {
        let body = ORIGINAL.replace(from, to);
        assert_ne!(body, ORIGINAL);
        let answer = account.db(&body).await;
        assert!(!same_request(&answer), "{body}");
        assert_eq!(answer.json()["Response"], first);
    }
}

#[tokio::test]
async fn many_ids_share_one_answer_and_any_of_them_refuses() {
    let account = shared_account();
    let ids: Vec<String> = (0..100).map(|at| format!("id{at}")).collect();
    let body = json!({"IdempotencyIDs": ids, "Atomic": [{"Key": "n", "Add": 1}]}).to_string();
    let first = account.db(&body).await.ok();
    assert!(same_request(&account.db(&body).await));
    for id in [&ids[0], &ids[57], &ids[99]] {
        let body = json!({"IdempotencyIDs": ["new", id], "Atomic": [{"Key": "n", "Add": 1}]});
        let fields = json!({"ID": id, "Response": first, "SameRequest": false});
        account.db(body.to_string()).await.refused(409, "duplicate_request", fields);
    }
    account.db(r#"{"IdempotencyIDs":["new"]}"#).await.ok();
    let too_many: Vec<String> = (0..101).map(|at| format!("other{at}")).collect();
    account.db(json!({"IdempotencyIDs": too_many}).to_string()).await.invalid("IdempotencyIDs");
    account.db(r#"{"IdempotencyIDs":["a","b","a"]}"#).await.invalid("IdempotencyIDs");
    account.db(r#"{"IdempotencyIDs":["a","b","\u0061"]}"#).await.invalid("IdempotencyIDs");
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_id() {
    let account = shared_account();
    let held = account.lock("l", 300).await;
    let id = r#""IdempotencyIDs":["id"]"#;
    for refused in [
        r#""KVSet":[{"Key":"k","Value":1,"IfVersion":7}]"#,
        r#""Atomic":[{"Key":"n","Add":1,"IfEq":7}]"#,
        r#""Atomic":[{"Key":"n","Set":9223372036854775807},{"Key":"n","Add":1}]"#,
        r#""LockID":"l","LockDur":30"#,
        r#""UnlockID":"l","Unlock":999"#,
        r#""LockDur":30"#,
    ] {
        assert_ne!(account.db(format!("{{{id},{refused}}}")).await.status, 200);
    }
    account.unlock("l", held).await;
    assert_eq!(account.db(format!("{{{id}}}")).await.ok(), json!({}));
}

#[tokio::test]
async fn an_id_is_forgotten_after_its_time_and_not_before() {
    let account = shared_account();
    let begun = std::time::Instant::now();
    let body = r#"{"IdempotencyIDs":["id"],"IdempotencyTTL":1,"Atomic":[{"Key":"n","Add":1}]}"#;
    account.db(body).await.ok();
    account.db(r#"{"IdempotencyIDs":["longest"],"IdempotencyTTL":2592000}"#).await.ok();
    eventually("the end of the TTL", || async { (account.db(body).await.status == 200).then_some(()) }).await;
    assert!(begun.elapsed().as_millis() >= 950, "it was forgotten after {:?}", begun.elapsed());
    assert_eq!(account.count("n", 0).await, 2);
    assert!(same_request(&account.db(r#"{"IdempotencyTTL":2592000,"IdempotencyIDs":["longest"]}"#).await));
}

#[tokio::test]
async fn an_answer_over_64_kib_is_not_kept() {
    let account = shared_account();
    account.set("small", &format!("\"{}\"", "x".repeat(60_000))).await;
    account.set("large", &format!("\"{}\"", "x".repeat(66_000))).await;
    for (key, is_kept) in [("small", true), ("large", false)] {
        let body = json!({"IdempotencyIDs": [key], "KVGet": [{"Key": key}]}).to_string();
        let first = account.db(&body).await.ok();
        let mut fields = json!({"ID": key, "SameRequest": true});
        if is_kept {
            fields["Response"] = first;
        }
        account.db(&body).await.refused(409, "duplicate_request", fields);
    }
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_is_applied() {
    let account = shared_account();
    let body = r#"{"IdempotencyIDs":["id"],"Atomic":[{"Key":"n","Add":1}]}"#;
    let mut senders = JoinSet::new();
    for _ in 0..20 {
        let account = account.clone();
        senders.spawn(async move { account.db(body).await });
    }
    let answers = senders.join_all().await;
    let applied: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(applied.len(), 1);
    let fields = json!({"ID": "id", "Response": applied[0].json(), "SameRequest": true});
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.refused(409, "duplicate_request", fields.clone());
    }
    assert_eq!(account.count("n", 0).await, 1);
}

#[tokio::test]
async fn ids_and_answers_are_found_again_after_a_restart() {
    let mut server = Server::start();
    let body = r#"{"IdempotencyIDs":["a","b"],"LockID":"l","LockDur":300,"Atomic":[{"Key":"n","Add":1}]}"#;
    let first = Account::of(&server, "x").db(body).await.ok_text();
    for _ in 0..2 {
        server.restart();
        let duplicate = Account::of(&server, "x").db(body).await;
        assert_eq!(raw_field(duplicate.text(), "Response"), Some(first.clone()));
        assert!(same_request(&duplicate));
    }
}
