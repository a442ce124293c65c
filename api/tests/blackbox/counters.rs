//! Counters and sequences.

use crate::support::shared_account;
use serde_json::json;
use std::collections::HashSet;
use tokio::task::JoinSet;

#[tokio::test]
async fn counters_add_set_delete_and_read() {
    let account = shared_account();
    for (operation, value) in [
        (r#""Add":5"#, 5),
        (r#""Add":-7"#, -2),
        ("\"IfEq\":-2", -2),
        (r#""Set":40"#, 40),
        (r#""Add":2,"IfEq":40"#, 42),
        (r#""Set":1,"IfEq":42"#, 1),
        (r#""Delete":true,"IfEq":1"#, 0),
        (r#""IfEq":0"#, 0),
        (r#""Add":3,"IfEq":0"#, 3),
        (r#""Delete":true"#, 0),
        (r#""Delete":true"#, 0),
    ] {
        let answer = account.db(format!(r#"{{"Atomic":[{{"Key":"n",{operation}}}]}}"#)).await.ok();
        assert_eq!(answer["Atomic"], json!([{"Key": "n", "Value": value}]), "{operation}");
    }
}

#[tokio::test]
async fn operations_on_one_counter_follow_each_other() {
    let account = shared_account();
    let body = r#"{"Atomic":[{"Key":"n","Add":1},{"Key":"m"},{"Key":"n"},{"Key":"n","Set":10},{"Key":"n","Add":-3},
                   {"Key":"n","Delete":true},{"Key":"n"},{"Key":"n","Add":2}]}"#;
    let answer = account.db(body).await.ok();
    let values: Vec<_> =
        answer["Atomic"].as_array().unwrap().iter().map(|entry| entry["Value"].as_i64().unwrap()).collect();
    assert_eq!(values, [1, 0, 1, 10, 7, 0, 0, 2]);
    assert_eq!(account.count("n", 0).await, 2);
}

#[tokio::test]
async fn if_eq_refuses_with_the_value_found() {
    let account = shared_account();
    account.db(r#"{"Atomic":[{"Key":"n","Set":-5}]}"#).await.ok();
    for (key, operation, found) in [
        ("n", r#""Add":1,"IfEq":5"#, -5),
        ("n", r#""Set":1,"IfEq":0"#, -5),
        ("n", r#""Delete":true,"IfEq":-4"#, -5),
        ("n", r#""IfEq":9223372036854775807"#, -5),
        ("missing", r#""IfEq":1"#, 0),
    ] {
        let answer = account.db(format!(r#"{{"Atomic":[{{"Key":"{key}",{operation}}}]}}"#)).await;
        answer.refused(409, "precondition_failed", json!({"Key": key, "Value": found}));
    }
    assert_eq!(account.count("n", 0).await, -5);
}

#[tokio::test]
async fn counters_reach_both_ends_of_64_bits_and_no_further() {
    let account = shared_account();
    let extremes = format!(
        r#"{{"Atomic":[{{"Key":"max","Add":{}}},{{"Key":"min","Add":{}}},{{"Key":"max"}},{{"Key":"min"}}]}}"#,
        i64::MAX,
        i64::MIN
    );
    let answer = account.db(extremes).await.ok();
    assert_eq!(answer["Atomic"][2]["Value"], i64::MAX);
    assert_eq!(answer["Atomic"][3]["Value"], i64::MIN);
    for (key, operations) in [
        ("max", r#"{"Key":"max","Add":1}"#),
        ("min", r#"{"Key":"min","Add":-1}"#),
        ("min", r#"{"Key":"ok","Add":1},{"Key":"min","Add":-9223372036854775808}"#),
        // On the way there, though the sum would fit.
        ("n", r#"{"Key":"n","Add":9223372036854775807},{"Key":"n","Add":1},{"Key":"n","Add":-5}"#),
    ] {
        let answer = account.db(format!(r#"{{"Atomic":[{operations}]}}"#)).await;
        answer.refused(409, "counter_overflow", json!({"Key": key}));
    }
    assert_eq!((account.count("ok", 0).await, account.count("n", 0).await), (0, 0));
    assert_eq!(account.count("max", i64::MIN).await, -1);
}

#[tokio::test]
async fn a_sequence_never_gives_a_number_twice() {
    let account = shared_account();
    let mut takers = JoinSet::new();
    for _ in 0..10 {
        let account = account.clone();
        takers.spawn(async move {
            let mut ends = Vec::new();
            for _ in 0..10 {
                ends.push(account.count("sequence", 100).await);
            }
            ends
        });
    }
    let ends: Vec<i64> = takers.join_all().await.into_iter().flatten().collect();
    let numbers: HashSet<i64> = ends.iter().flat_map(|end| end - 99..=*end).collect();
    assert_eq!(numbers.len(), 10_000);
    assert_eq!(ends.iter().max(), Some(&10_000));
}
