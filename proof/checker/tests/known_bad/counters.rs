//! Sums that are wrong, and numbers that are given out twice.

use crate::story::Story;
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};

const CHECKER: &str = "counters";

fn add(story: Story, times_ms: (u64, u64), add: i64, value: i64, version: u64) -> Story {
    let answer = json!({"Atomic": [{"Key": "c", "Value": value}], "Version": version});
    story.db(times_ms, json!({"Atomic": [{"Key": "c", "Add": add}]}), 200, answer)
}

fn ends_at(story: Story, value: i64) -> Story {
    let page = json!({"Counters": [{"Key": "c", "Value": value}]});
    story.told((1_000, 1_010), Endpoint::List, json!({"Kind": "Counters"}), 200, page)
}

#[test]
fn the_sum_is_what_was_added() {
    let added = || add(add(Story::new(), (0, 10), 1, 1, 1), (20, 30), 4, 5, 2);
    assert_eq!(ends_at(added(), 5).is_clean().looked_at.sums, 1);
    ends_at(added(), 4).is_refused_by(CHECKER);
    ends_at(added(), 6).is_refused_by(CHECKER);
    let lost = || added().lost((40, 50), json!({"Atomic": [{"Key": "c", "Add": 1}]}));
    ends_at(lost(), 5).is_clean();
    ends_at(lost(), 6).is_clean();
    ends_at(lost(), 7).is_refused_by(CHECKER);
}

#[test]
fn tries_of_one_request_count_once() {
    let pay = json!({"IdempotencyIDs": ["i"], "Atomic": [{"Key": "c", "Add": 1}]});
    let answer = json!({"Atomic": [{"Key": "c", "Value": 1}], "Version": 1});
    let duplicate = json!({"Code": "duplicate_request", "ID": "i", "SameRequest": true, "Response": answer});
    let story = || Story::new().lost((0, 5), pay.clone()).db((10, 20), pay.clone(), 409, duplicate.clone());
    ends_at(story(), 1).is_clean();
    ends_at(story(), 2).is_refused_by(CHECKER);
    ends_at(story(), 0).is_refused_by(CHECKER);
}

#[test]
fn an_id_that_was_forgotten_counts_again() {
    let pay = json!({"IdempotencyIDs": ["i"], "IdempotencyTTL": 1, "Atomic": [{"Key": "c", "Add": 1}]});
    let answer = |value: i64| json!({"Atomic": [{"Key": "c", "Value": value}], "Version": value});
    let twice = Story::new().db((0, 10), pay.clone(), 200, answer(1)).db((5_000, 5_010), pay, 200, answer(2));
    let page = json!({"Counters": [{"Key": "c", "Value": 2}]});
    twice.told((6_000, 6_010), Endpoint::List, json!({"Kind": "Counters"}), 200, page).is_clean();
}

#[test]
fn no_number_is_given_out_twice() {
    let reserved = |value: i64| add(add(Story::new(), (0, 10), 10, 10, 1), (20, 30), 5, value, 2);
    assert_eq!(reserved(15).is_clean().looked_at.numbers, 2);
    reserved(14).is_refused_by(CHECKER);
}

#[test]
fn mixed_counters_have_no_sum() {
    let set = |value: Value| json!({"Atomic": [{"Key": "c", "Set": value}]});
    let answer = json!({"Atomic": [{"Key": "c", "Value": 9}], "Version": 2});
    let story = add(Story::new(), (0, 10), 1, 1, 1).db((20, 30), set(json!(9)), 200, answer);
    assert_eq!(ends_at(story, 9).is_clean().looked_at.sums, 0);
}

#[test]
fn a_later_try_counts_as_a_change_after_the_last_look() {
    let pay = json!({"IdempotencyIDs": ["i"], "Atomic": [{"Key": "c", "Add": 1}]});
    let story = add(Story::new(), (0, 1), 3, 3, 1).lost((2, 5), pay.clone());
    let page = json!({"Counters": [{"Key": "c", "Value": 3}]});
    let looked = story.told((20, 30), Endpoint::List, json!({"Kind": "Counters"}), 200, page);
    looked.db((100, 110), pay, 200, json!({"Atomic": [{"Key": "c", "Value": 4}], "Version": 2})).is_clean();
}
