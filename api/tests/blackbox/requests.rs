//! One atomic request: what it answers, in which order its parts are looked at, and that all of it
//! happens or nothing.

use crate::support::{Account, shared_account, unix_s};
use serde_json::{Value, json};

async fn all(account: &Account, bodies: &[Value]) -> Vec<Value> {
    let mut answers = Vec::new();
    for body in bodies {
        answers.push(account.db(body.to_string()).await.ok());
    }
    answers
}

#[tokio::test]
async fn an_answer_has_only_the_fields_that_say_something() {
    let account = shared_account();
    let answers = all(
        &account,
        &[
            json!({"KVGet": [{"Key": "k"}]}),
            json!({"Atomic": [{"Key": "n"}]}),
            json!({"KVSet": [{"Key": "k", "Value": "v"}]}),
            json!({"KVGet": [{"Key": "k"}, {"Key": "none"}]}),
            json!({"Atomic": [{"Key": "n", "Add": 3}]}),
            json!({"IdempotencyIDs": ["id"]}),
            json!({"KVSet": [{"Key": "k", "Delete": true}]}),
            json!({"Atomic": [{"Key": "n", "Delete": true}]}),
        ],
    )
    .await;
    assert_eq!(
        answers,
        [
            json!({"KV": [{"Key": "k", "Version": 0}]}),
            json!({"Atomic": [{"Key": "n", "Value": 0}]}),
            json!({"Version": 1}),
            json!({"KV": [{"Key": "k", "Version": 1, "Value": "v"}, {"Key": "none", "Version": 0}]}),
            json!({"Atomic": [{"Key": "n", "Value": 3}], "Version": 2}),
            json!({}),
            json!({"Version": 4}),
            json!({"Atomic": [{"Key": "n", "Value": 0}], "Version": 5}),
        ]
    );
    let mut locked = account.db(r#"{"LockID":"l","LockDur":30}"#).await.ok();
    assert!(locked.as_object_mut().unwrap().remove("Till").is_some_and(|till| till.is_u64()));
    assert_eq!(locked, json!({"Lock": 6, "Version": 6}));
    assert_eq!(account.db(r#"{"UnlockID":"l","Unlock":6}"#).await.ok(), json!({}));
}

#[tokio::test]
async fn every_part_works_in_one_request() {
    let account = shared_account();
    account.set("CDE", r#"{"my_json": "object"}"#).await;
    account.set("OLD", "1").await;
    let abc = account.set("ABC", "\"122\"").await;
    account.db(r#"{"Atomic":[{"Key":"Total_Count","Set":332},{"Key":"Gauge","Set":4}]}"#).await.ok();
    let handle = account.lock("ABC", 30).await;
    let before_s = unix_s();
    let body = json!({
        "IdempotencyIDs": ["ABC_create"], "IdempotencyTTL": 86400,
        "UnlockID": "ABC", "Unlock": handle,
        "LockID": "ABC", "LockDur": 30, "LockWait": 30,
        "Atomic": [{"Key": "Total_Count", "Add": 1}, {"Key": "Gauge", "Set": 5, "IfEq": 4}],
        "KVSet": [{"Key": "ABC", "Value": "123", "TTL": 60, "IfVersion": abc}, {"Key": "OLD", "Delete": true}],
        "KVGet": [{"Key": "CDE"}],
    });
    let answer = account.db(body.to_string()).await;
    crate::support::assert_till(answer.number("Till"), before_s, 30);
    let expected = json!({
        "Lock": handle,
        "Till": answer.number("Till"),
        "Atomic": [{"Key": "Total_Count", "Value": 333}, {"Key": "Gauge", "Value": 5}],
        "KV": [{"Key": "CDE", "Version": 1, "Value": {"my_json": "object"}}],
        "Version": handle + 1,
    });
    assert_eq!(answer.ok(), expected);
    assert_eq!(account.get("ABC").await, (handle + 1, Some("\"123\"".into())));
    assert_eq!(account.get("OLD").await, (0, None));
}

#[tokio::test]
async fn every_applied_write_raises_the_revision_by_one_and_nothing_else_does() {
    let account = shared_account();
    let mut revision = account.next_revision().await;
    let held = account.lock("held", 300).await;
    revision += 1;
    assert_eq!(held, revision);
    let unlock = json!({"UnlockID": "held", "Unlock": held}).to_string();
    let extend = json!({"UnlockID": "held", "Unlock": held, "LockID": "held", "LockDur": 300}).to_string();
    let check = json!({"UnlockID": "held", "Unlock": held, "LockID": "held", "LockDur": 0}).to_string();
    let steps = [
        (r#"{"KVSet":[{"Key":"none","Delete":true}]}"#, 1),
        (r#"{"Atomic":[{"Key":"none","Delete":true}]}"#, 1),
        (r#"{"Atomic":[{"Key":"none","Add":0}]}"#, 1),
        (r#"{"Atomic":[{"Key":"none","Set":0}]}"#, 1),
        (r#"{"KVSet":[{"Key":"a","Value":1},{"Key":"b","Value":2}],"Atomic":[{"Key":"n","Add":1}]}"#, 1),
        (r#"{"IdempotencyIDs":["one","two"]}"#, 1),
        (&extend, 1),
        (&check, 1),
        (r#"{"LockID":"held","LockDur":300}"#, 0),
        (&unlock, 1),
        (&unlock, 0),
        (r#"{"KVGet":[{"Key":"a"}],"Atomic":[{"Key":"n"},{"Key":"n","IfEq":1}]}"#, 0),
        (r#"{"IdempotencyIDs":["one"]}"#, 0),
        (r#"{"KVSet":[{"Key":"a","Value":1,"IfVersion":0}]}"#, 0),
        (r#"{"Atomic":[{"Key":"n","Add":1,"IfEq":7}]}"#, 0),
        (r#"{"KVSet":[{"Key":"a"}]}"#, 0),
    ];
    for (body, raised) in steps {
        let answer = account.db(body).await;
        assert_eq!(answer.status == 200, raised == 1 || body.starts_with(r#"{"KVGet"#), "{body}");
        let next = account.next_revision().await;
        assert_eq!(next, revision + raised + 1, "{body}");
        revision = next;
    }
}

#[tokio::test]
async fn reads_and_conditions_see_the_state_before_the_request() {
    let account = shared_account();
    account.db(r#"{"KVSet":[{"Key":"k","Value":"old"}],"Atomic":[{"Key":"n","Set":10}]}"#).await.ok();
    let swap = account.db(r#"{"KVSet":[{"Key":"k","Value":"new"}],"KVGet":[{"Key":"k"}]}"#).await.ok();
    assert_eq!(swap, json!({"KV": [{"Key": "k", "Version": 1, "Value": "old"}], "Version": 2}));
    let body = r#"{"Atomic":[{"Key":"n","Add":1,"IfEq":10},{"Key":"n","Add":2,"IfEq":10},{"Key":"n","IfEq":10}],
                   "KVSet":[{"Key":"k","Delete":true,"IfVersion":2}],"KVGet":[{"Key":"k"},{"Key":"k"}]}"#;
    let read = json!({"Key": "k", "Version": 2, "Value": "new"});
    let expected = json!({
        "Atomic": [{"Key": "n", "Value": 11}, {"Key": "n", "Value": 13}, {"Key": "n", "Value": 13}],
        "KV": [read, read],
        "Version": 3,
    });
    assert_eq!(account.db(body).await.ok(), expected);
    assert_eq!(account.get("k").await, (0, None));
}

#[tokio::test]
async fn a_refused_request_leaves_nothing() {
    let account = shared_account();
    account
        .db(r#"{"KVSet":[{"Key":"k","Value":1}],"Atomic":[{"Key":"max","Set":9223372036854775807}]}"#)
        .await
        .ok();
    let held = account.lock("held", 300).await;
    let rest = format!(
        r#""IdempotencyIDs":["id"],"UnlockID":"held","Unlock":{held},"LockID":"wanted","LockDur":300,
           "KVSet":[{{"Key":"new","Value":1}},{{"Key":"k","Delete":true%}}]"#
    );
    let refusals = [
        (
            rest.replace('%', r#","IfVersion":7"#) + r#","Atomic":[{"Key":"n","Add":1}]"#,
            "precondition_failed",
        ),
        (
            rest.replace('%', "") + r#","Atomic":[{"Key":"n","Add":1},{"Key":"m","IfEq":1}]"#,
            "precondition_failed",
        ),
        (
            rest.replace('%', "") + r#","Atomic":[{"Key":"n","Add":1},{"Key":"max","Add":1}]"#,
            "counter_overflow",
        ),
    ];
    for (body, code) in refusals {
        let answer = account.db(format!("{{{body}}}")).await;
        assert_eq!(answer.status, 409);
        assert_eq!(answer.json()["Code"], code);
        assert_eq!(account.count("n", 0).await, 0);
        assert_eq!(account.get("new").await, (0, None));
        assert_eq!(account.get("k").await, (1, Some("1".into())));
        assert!(account.held_lock("wanted").await.is_none());
        assert_eq!(account.held_lock("held").await.unwrap()["Lock"], held);
    }
    account.db(r#"{"IdempotencyIDs":["id"]}"#).await.ok();
}

#[tokio::test]
async fn what_is_looked_at_first_is_reported() {
    let account = shared_account();
    account.db(r#"{"IdempotencyIDs":["used"],"KVSet":[{"Key":"k","Value":1}]}"#).await.ok();
    let held = account.lock("held", 300).await;
    let parts = [
        (r#""IdempotencyIDs":["used"]"#.to_owned(), "duplicate_request"),
        (r#""UnlockID":"never","Unlock":5"#.into(), "not_locked"),
        (r#""LockID":"held","LockDur":9"#.into(), "lock_timeout"),
        (r#""KVSet":[{"Key":"k","Value":2,"IfVersion":9}]"#.into(), "precondition_failed"),
        (
            r#""Atomic":[{"Key":"n","Set":9223372036854775807},{"Key":"n","Add":1}]"#.into(),
            "counter_overflow",
        ),
    ];
    for first in 0..parts.len() {
        // Written in the opposite order, which must not matter.
        let body: Vec<&str> = parts[first..].iter().rev().map(|(part, _)| part.as_str()).collect();
        let answer = account.db(format!("{{{}}}", body.join(","))).await;
        assert_eq!(answer.json()["Code"], parts[first].1, "{}", answer.text());
    }
    account.unlock("held", held).await;
}

#[tokio::test]
async fn of_several_failed_conditions_the_first_is_reported() {
    let account = shared_account();
    account.db(r#"{"KVSet":[{"Key":"a","Value":1},{"Key":"b","Value":1}],"Atomic":[{"Key":"a","Set":4},{"Key":"b","Set":5}]}"#).await.ok();
    let sets = r#""KVSet":[{"Key":"ok","Value":1,"IfVersion":0},{"Key":"b","Value":1,"IfVersion":7},{"Key":"a","Value":1,"IfVersion":8}]"#;
    let counters = r#""Atomic":[{"Key":"b","IfEq":5},{"Key":"b","Add":1,"IfEq":6},{"Key":"a","IfEq":7}]"#;
    let both = account.db(format!("{{{counters},{sets}}}")).await;
    both.refused(409, "precondition_failed", json!({"Key": "b", "Version": 1}));
    let counters = account.db(format!("{{{counters}}}")).await;
    counters.refused(409, "precondition_failed", json!({"Key": "b", "Value": 5}));
}

#[tokio::test]
async fn null_is_the_same_as_absent() {
    let account = shared_account();
    let body = r#"{"IdempotencyIDs":null,"IdempotencyTTL":null,"UnlockID":null,"Unlock":null,"LockID":null,
        "LockDur":null,"LockWait":null,"LockOwner":null,"KVGet":null,
        "Atomic":[{"Key":"n","Add":1,"Set":null,"Delete":null,"IfEq":null}],
        "KVSet":[{"Key":"k","Value":null,"Delete":null,"TTL":null,"IfVersion":null}]}"#;
    let expected = json!({"Atomic": [{"Key": "n", "Value": 1}], "Version": 1});
    assert_eq!(account.db(body).await.ok(), expected);
    assert_eq!(account.get("k").await, (1, Some("null".into())), "a Value may be null");
    let list = account.list(r#"{"Prefix":null,"After":null,"Limit":null,"Kind":null}"#).await.ok();
    assert_eq!(list, json!({"KV": [{"Key": "k", "Version": 1, "Value": null}]}));
    let nothing = body.split("\"Atomic\"").next().unwrap().trim().trim_end_matches(',').to_owned() + "}";
    account.db(nothing).await.invalid("");
}

#[tokio::test]
async fn accounts_know_nothing_of_each_other() {
    let one = shared_account();
    let other = one.other();
    let body = r#"{"IdempotencyIDs":["x"],"LockID":"x","LockDur":300,"Atomic":[{"Key":"x","Add":1}],
                   "KVSet":[{"Key":"x","Value":1,"IfVersion":0}]}"#;
    for account in [&one, &other] {
        let answer = account.db(body).await.ok();
        assert_eq!((&answer["Lock"], &answer["Atomic"][0]["Value"]), (&json!(1), &json!(1)));
    }
    other.unlock("x", 1).await;
    other.db(r#"{"KVSet":[{"Key":"x","Delete":true}],"Atomic":[{"Key":"x","Add":5}]}"#).await.ok();
    assert_eq!(one.get("x").await, (1, Some("1".into())));
    assert_eq!(one.count("x", 0).await, 1);
    assert_eq!(one.held_lock("x").await.unwrap()["Lock"], 1);
    assert_eq!(one.next_revision().await, 2);
    let empty = one.other().list("{}").await.ok();
    assert_eq!(empty, json!({"KV": []}));
}

#[tokio::test]
async fn one_name_is_four_things() {
    let account = shared_account();
    let body = r#"{"KVSet":[{"Key":"x","Value":"value"}]}"#;
    account.db(body).await.ok();
    account.db(r#"{"Atomic":[{"Key":"x","Set":7}]}"#).await.ok();
    account.db(r#"{"IdempotencyIDs":["x"]}"#).await.ok();
    let handle = account.lock("x", 300).await;
    assert_eq!(handle, 4);
    account.db(r#"{"KVSet":[{"Key":"x","Delete":true}]}"#).await.ok();
    assert_eq!(account.count("x", 0).await, 7);
    assert_eq!(account.held_lock("x").await.unwrap()["Lock"], 4);
    account.db(r#"{"IdempotencyIDs":["x"]}"#).await.refused(
        409,
        "duplicate_request",
        json!({"ID": "x", "Response": {}, "SameRequest": true}),
    );
}

#[tokio::test]
async fn operations_are_limited_in_sum() {
    let account = shared_account();
    let body = |gets: usize| {
        let entries =
            |count: usize| (0..count).map(|at| json!({"Key": format!("k{at}")})).collect::<Vec<_>>();
        let sets: Vec<_> = (0..300).map(|at| json!({"Key": format!("k{at}"), "Value": at})).collect();
        json!({"KVSet": sets, "Atomic": entries(300), "KVGet": entries(gets)}).to_string()
    };
    let answer = account.db(body(400)).await.ok();
    assert_eq!(answer["KV"].as_array().unwrap().len(), 400);
    assert_eq!(answer["Atomic"].as_array().unwrap().len(), 300);
    account.db(body(401)).await.invalid("KVGet");
    assert_eq!(account.get("k299").await, (1, Some("299".into())));
}
