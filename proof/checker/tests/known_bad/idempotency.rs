//! Ids that are applied twice, and duplicates that are told something else than the first was.

use crate::story::Story;
use serde_json::{Value, json};

const CHECKER: &str = "idempotency";

fn pay(amount: i64) -> Value {
    json!({"IdempotencyIDs": ["i"], "Atomic": [{"Key": "c", "Add": amount}]})
}

fn paid(value: i64, version: u64) -> Value {
    json!({"Atomic": [{"Key": "c", "Value": value}], "Version": version})
}

fn duplicate(response: Value, same: bool) -> Value {
    json!({"Code": "duplicate_request", "ID": "i", "SameRequest": same, "Response": response})
}

#[test]
fn at_most_once() {
    let story = || Story::new().db((0, 10), pay(1), 200, paid(1, 1));
    assert_eq!(
        story().db((20, 30), pay(1), 409, duplicate(paid(1, 1), true)).is_clean().looked_at.duplicates,
        1
    );
    story().db((20, 30), pay(1), 200, paid(2, 2)).is_refused_by(CHECKER);
}

#[test]
fn the_kept_answer_is_the_first_one() {
    let story = || Story::new().db((0, 10), pay(1), 200, paid(1, 1));
    story().db((20, 30), pay(1), 409, duplicate(paid(2, 1), true)).is_refused_by(CHECKER);
    // Where the first answer was lost, all later ones say the same.
    let lost = |second: Value| {
        let first = duplicate(paid(1, 1), true);
        Story::new().lost((0, 5), pay(1)).db((10, 20), pay(1), 409, first).db((30, 40), pay(1), 409, second)
    };
    lost(duplicate(paid(1, 1), true)).is_clean();
    lost(duplicate(paid(1, 7), true)).is_refused_by(CHECKER);
}

#[test]
fn whether_it_was_the_same_request() {
    let story = || Story::new().db((0, 10), pay(1), 200, paid(1, 1));
    story().db((20, 30), pay(5), 409, duplicate(paid(1, 1), false)).is_clean();
    story().db((20, 30), pay(5), 409, duplicate(paid(1, 1), true)).is_refused_by(CHECKER);
    story().db((20, 30), pay(1), 409, duplicate(paid(1, 1), false)).is_refused_by(CHECKER);
    // Nobody can have used it.
    Story::new()
        .refused((0, 10), pay(1))
        .db((20, 30), pay(1), 409, duplicate(paid(1, 1), true))
        .is_refused_by(CHECKER);
}
