//! Lists: kinds, prefixes, pages, order.

use crate::support::{Account, eventually, shared_account};
use serde_json::{Value, json};

async fn set_all(account: &Account, keys: &[&str]) {
    let sets: Vec<_> = keys.iter().map(|key| json!({"Key": key, "Value": key})).collect();
    account.db(json!({ "KVSet": sets }).to_string()).await.ok();
}

/// The keys of a page, and whether there are more.
async fn page(account: &Account, query: Value) -> (Vec<String>, bool) {
    let answer = account.list(query.to_string()).await.ok();
    let fields = answer.as_object().unwrap();
    let has_more = fields.get("More").is_some_and(|more| more == &json!(true));
    assert_eq!(fields.len(), 1 + usize::from(has_more), "More is there only when true: {answer}");
    let keys = answer["KV"].as_array().unwrap().iter().map(|entry| entry["Key"].as_str().unwrap().to_owned());
    (keys.collect(), has_more)
}

#[tokio::test]
async fn values_are_listed_with_versions() {
    let account = shared_account();
    assert_eq!(account.list("{}").await.ok(), json!({"KV": []}));
    account.set("b", "[1]").await;
    account.set("a", "null").await;
    account.set("b", "[2]").await;
    let expected = json!({"KV": [
        {"Key": "a", "Version": 2, "Value": null},
        {"Key": "b", "Version": 3, "Value": [2]},
    ]});
    assert_eq!(account.list("{}").await.ok(), expected);
    assert_eq!(account.list(r#"{"Kind":"KV","Prefix":"","After":null}"#).await.ok(), expected);
}

#[tokio::test]
async fn keys_come_in_the_order_of_their_bytes() {
    let account = shared_account();
    // As UTF-16 the last two would stand the other way round.
    let sorted = [
        "\u{1}", " ", "A", "Z", "a", "a\u{1}", "a ", "aa", "b", "\u{7f}", "\u{80}", "é", "ж", "\u{ffff}",
        "😀",
    ];
    let mut shuffled = sorted;
    shuffled.reverse();
    shuffled.swap(2, 9);
    set_all(&account, &shuffled).await;
    assert_eq!(page(&account, json!({})).await, (sorted.map(str::to_owned).to_vec(), false));
    for limit in [1, 2, 7, 14, 15] {
        let mut found = Vec::new();
        let mut query = json!({"Limit": limit});
        loop {
            let (keys, has_more) = page(&account, query.clone()).await;
            assert!(keys.len() == limit || !has_more);
            query["After"] = json!(keys.last());
            found.extend(keys);
            if !has_more {
                break;
            }
        }
        assert_eq!(found, sorted, "Limit {limit}");
    }
}

#[tokio::test]
async fn prefix_and_after_choose_the_keys() {
    let account = shared_account();
    set_all(&account, &["conf", "conf.x", "conf/", "conf/a", "conf/b", "conf/b/c", "conf0", "cönf/", "z"])
        .await;
    for (query, keys) in [
        (json!({"Prefix": "conf/"}), vec!["conf/", "conf/a", "conf/b", "conf/b/c"]),
        (json!({"Prefix": "conf/", "After": "conf/a"}), vec!["conf/b", "conf/b/c"]),
        (json!({"Prefix": "conf/", "After": "conf/a0"}), vec!["conf/b", "conf/b/c"]),
        (json!({"Prefix": "conf/", "After": "a"}), vec!["conf/", "conf/a", "conf/b", "conf/b/c"]),
        (json!({"Prefix": "conf/", "After": "conf/b/c"}), vec![]),
        (json!({"Prefix": "conf/", "After": "z"}), vec![]),
        (json!({"Prefix": "c\u{f6}"}), vec!["cönf/"]),
        (json!({"Prefix": "Conf"}), vec![]),
        (json!({"After": "conf0"}), vec!["cönf/", "z"]),
        (json!({"After": "z"}), vec![]),
        (json!({"Prefix": "z"}), vec!["z"]),
    ] {
        assert_eq!(
            page(&account, query.clone()).await,
            (keys.into_iter().map(str::to_owned).collect(), false),
            "{query}"
        );
    }
    let (keys, has_more) = page(&account, json!({"Prefix": "conf/", "Limit": 3})).await;
    assert_eq!((keys.len(), has_more), (3, true));
    let (keys, has_more) = page(&account, json!({"Prefix": "conf/", "Limit": 4})).await;
    assert_eq!((keys.len(), has_more), (4, false), "what follows has another prefix");
}

#[tokio::test]
async fn the_default_page_has_a_hundred_and_the_largest_a_thousand() {
    let account = shared_account();
    let keys: Vec<String> = (0..1_000).map(|at| format!("k{at:04}")).collect();
    set_all(&account, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (found, has_more) = page(&account, json!({})).await;
    assert_eq!((found.as_slice(), has_more), (&keys[..100], true));
    assert_eq!(page(&account, json!({"Limit": 1000})).await, (keys.clone(), false));
    account.set("k1000", "0").await;
    assert_eq!(page(&account, json!({"Limit": 1000})).await, (keys, true));
}

#[tokio::test]
async fn what_is_deleted_or_expired_is_not_listed() {
    let account = shared_account();
    set_all(&account, &["a", "b", "c"]).await;
    let body = r#"{"KVSet":[{"Key":"b","Delete":true},{"Key":"a","Value":1,"TTL":1}],
                   "Atomic":[{"Key":"gone","Add":1},{"Key":"n","Add":5},{"Key":"gone","Delete":true}]}"#;
    account.db(body).await.ok();
    account.lock("l", 1).await;
    let counters = account.list(r#"{"Kind":"Counters"}"#).await.ok();
    assert_eq!(counters, json!({"Counters": [{"Key": "n", "Value": 5}]}));
    eventually("the end of the TTL", || async {
        (page(&account, json!({})).await == (vec!["c".to_owned()], false)).then_some(())
    })
    .await;
    eventually("the end of the lease", || async {
        (account.list(r#"{"Kind":"Locks"}"#).await.ok() == json!({"Locks": []})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn counters_are_listed_by_page_and_prefix() {
    let account = shared_account();
    assert_eq!(account.list(r#"{"Kind":"Counters"}"#).await.ok(), json!({"Counters": []}));
    account.set("v", "1").await;
    let body = r#"{"Atomic":[{"Key":"b/2","Set":-9223372036854775808},{"Key":"b/1","Add":9223372036854775807},{"Key":"a","Add":1}]}"#;
    account.db(body).await.ok();
    let (one, two) = (json!({"Key": "b/1", "Value": i64::MAX}), json!({"Key": "b/2", "Value": i64::MIN}));
    let listed = account.list(r#"{"Kind":"Counters","Prefix":"b/"}"#).await.ok();
    assert_eq!(listed, json!({"Counters": [one, two]}));
    let listed = account.list(r#"{"Kind":"Counters","After":"a","Limit":1}"#).await.ok();
    assert_eq!(listed, json!({"Counters": [one], "More": true}));
}

#[tokio::test]
async fn locks_are_listed_with_those_who_wait() {
    // `Waiting` counts those at the frontend that is asked.
    let account = shared_account().on_one_frontend();
    let first = account.db(r#"{"LockID":"b","LockDur":300,"LockOwner":"me"}"#).await.ok();
    let second = account.db(r#"{"LockID":"a","LockDur":300}"#).await.ok();
    let _one = account.queue_up("b", 1, r#"{"LockID":"b","LockDur":300,"LockWait":300}"#).await;
    let _two = account.queue_up("b", 2, r#"{"LockID":"b","LockDur":300,"LockWait":300}"#).await;
    let since = |granted: &Value| granted["Till"].as_u64().unwrap() - 300;
    // An extended lock is held since it was granted.
    let extend = format!(r#"{{"LockID":"a","LockDur":600,"UnlockID":"a","Unlock":{}}}"#, second["Lock"]);
    let till = account.db(&extend).await.ok()["Till"].clone();
    let a = json!({"ID": "a", "Lock": second["Lock"], "Till": till, "Since": since(&second), "Waiting": 0});
    let b = json!({"ID": "b", "Lock": first["Lock"], "Till": first["Till"], "Since": since(&first), "Owner": "me", "Waiting": 2});
    assert_eq!(account.list(r#"{"Kind":"Locks"}"#).await.ok(), json!({"Locks": [a, b]}));
    let listed = account.list(r#"{"Kind":"Locks","Limit":1}"#).await.ok();
    assert_eq!(listed, json!({"Locks": [a], "More": true}));
    let listed = account.list(r#"{"Kind":"Locks","Prefix":"b","After":"a"}"#).await.ok();
    assert_eq!(listed, json!({"Locks": [b]}));
}

#[tokio::test]
async fn accounts_with_alike_names_do_not_mix() {
    let account = shared_account();
    for (suffix, key) in [("", "a"), (".", "b"), ("x", "c"), ("-0", "d")] {
        let alike = account.named(format!("{}{suffix}", account.name));
        alike.set(key, "1").await;
        assert_eq!(page(&alike, json!({})).await, (vec![key.to_owned()], false));
    }
    assert_eq!(page(&account, json!({})).await.0, ["a"]);
}

#[tokio::test]
async fn a_page_ends_early_at_32_mib() {
    const VALUES: usize = 34;
    let account = shared_account();
    let value = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    for at in 0..VALUES {
        account.set(&format!("k{at:02}"), &value).await;
    }
    let mut found = 0;
    let mut query = json!({"Limit": 1000});
    loop {
        let answer = account.list(query.to_string()).await;
        assert!(answer.body.len() <= 32 << 20);
        let listed = answer.ok();
        let entries = listed["KV"].as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["Value"].as_str().unwrap().len() == value.len() - 2));
        query["After"] = entries.last().unwrap()["Key"].clone();
        found += entries.len();
        if listed.get("More").is_none() {
            break;
        }
        assert_eq!(found, 31, "as many as fit");
    }
    assert_eq!(found, VALUES);
    // Read by name, so many are refused, and what is beside the reads is not applied.
    let gets: Vec<_> = (0..VALUES).map(|at| json!({"Key": format!("k{at:02}")})).collect();
    let body = json!({"KVGet": gets, "Atomic": [{"Key": "n", "Add": 1}]}).to_string();
    account.db(body).await.refused(413, "payload_too_large", json!({}));
    assert_eq!(account.count("n", 0).await, 0);
}
