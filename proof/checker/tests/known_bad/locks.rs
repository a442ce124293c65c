//! Two holders, handles that fall, the queue's order, and those who sleep on a free lock.

use crate::story::{Story, ZERO_S};
use serde_json::{Value, json};

const CHECKER: &str = "locks";

fn take(dur_s: u64, wait_s: u64) -> Value {
    json!({"LockID": "l", "LockDur": dur_s, "LockWait": wait_s})
}

fn got(handle: u64, till_s: u64) -> Value {
    json!({"Lock": handle, "Till": ZERO_S + till_s, "Version": handle})
}

fn unlock(handle: u64) -> Value {
    json!({"UnlockID": "l", "Unlock": handle})
}

#[test]
fn two_holders() {
    let first = || Story::new().db((0, 10), take(5, 0), 200, got(1, 5));
    let given_back = first().db((1_000, 1_010), unlock(1), 200, json!({}));
    given_back.db((900, 1_020), take(5, 2), 200, got(3, 6)).is_clean();
    first().db((900, 1_020), take(5, 2), 200, got(2, 6)).is_refused_by(CHECKER);
    // Whoever asked to give it back holds it no more, whatever the answer.
    first().lost((800, 900), unlock(1)).db((900, 1_020), take(5, 2), 200, got(3, 6)).is_clean();
    // An extended lease is held for longer.
    let extend = json!({"LockID": "l", "UnlockID": "l", "Unlock": 1, "LockDur": 9});
    let extended = || {
        first().db((2_000, 2_001), extend.clone(), 200, json!({"Lock": 1, "Till": ZERO_S + 11, "Version": 2}))
    };
    extended().db((6_000, 6_001), take(5, 0), 200, got(3, 11)).is_refused_by(CHECKER);
    // A later lease may also be shorter.
    let shorten = json!({"LockID": "l", "UnlockID": "l", "Unlock": 1, "LockDur": 1});
    let shortened =
        first().db((2_000, 2_001), shorten, 200, json!({"Lock": 1, "Till": ZERO_S + 3, "Version": 2}));
    let early = json!({"Lock": 3, "Till": ZERO_S + 8, "Expired": true, "Version": 3});
    shortened.db((3_500, 3_501), take(5, 0), 200, early).is_clean();
    let over = json!({"Lock": 3, "Till": ZERO_S + 17, "Expired": true, "Version": 3});
    assert_eq!(extended().db((12_000, 12_001), take(5, 0), 200, over).is_clean().looked_at.takeovers, 1);
}

#[test]
fn handles_rise_over_all_locks() {
    let other = json!({"LockID": "m", "LockDur": 5});
    let story = || Story::new().db((0, 10), take(5, 0), 200, got(3, 5));
    story().db((11, 20), other.clone(), 200, got(2, 5)).is_refused_by(CHECKER);
    // Two at the same time may have any order.
    let at_once = Story::new().db((0, 10), take(5, 0), 200, got(2, 5)).db((5, 20), other, 200, got(1, 5));
    at_once.is_clean();
}

fn queue(second_is_first: bool) -> Story {
    let (first, second) = if second_is_first { (5, 3) } else { (3, 5) };
    Story::new()
        .db((0, 10), take(30, 0), 200, got(1, 30))
        .db((20, if second_is_first { 300 } else { 120 }), take(30, 20), 200, got(first, 30))
        .queued_at(50)
        .db((60, if second_is_first { 120 } else { 300 }), take(30, 20), 200, got(second, 30))
        .db((100, 110), unlock(1), 200, json!({}))
        .db((200, 210), unlock(3), 200, json!({}))
}

#[test]
fn first_come_first_served() {
    assert_eq!(queue(false).is_clean().looked_at.queued_pairs, 1);
    queue(true).is_refused_by(CHECKER);
    // One who was refused although a later one got the lock in its time.
    let refusal = json!({"Code": "lock_timeout", "Till": ZERO_S + 31});
    Story::new()
        .db((0, 10), take(30, 0), 200, got(1, 30))
        .db((20, 20_020), take(30, 20), 409, refusal)
        .queued_at(50)
        .db((60, 1_020), take(30, 20), 200, got(3, 31))
        .db((1_000, 1_010), unlock(1), 200, json!({}))
        .is_refused_by(CHECKER);
}

#[test]
fn nobody_sleeps_on_a_free_lock() {
    let waited = |till_ms: u64, till_s: u64| {
        Story::new()
            .db((0, 10), take(30, 0), 200, got(1, 30))
            .db((20, till_ms), take(30, 20), 200, got(3, till_s))
            .db((100, 110), unlock(1), 200, json!({}))
    };
    waited(1_000, 31).is_clean();
    let late = waited(5_000, 35);
    late.is_refused_by(CHECKER);
    // Unless something was done to the system.
    waited(5_000, 35).disturbed((1_000, 4_000)).is_clean();
    // A lease that ran out frees the lock as well.
    let expired = json!({"Lock": 2, "Till": ZERO_S + 20, "Expired": true, "Version": 2});
    Story::new()
        .db((0, 10), take(5, 0), 200, got(1, 5))
        .db((20, 10_000), take(10, 20), 200, expired)
        .is_refused_by(CHECKER);
}

#[test]
fn one_whose_client_is_gone_may_have_the_lock() {
    let gone = json!({"IdempotencyIDs": ["i"], "LockID": "l", "LockDur": 30, "LockWait": 20});
    let refusal = json!({"Code": "lock_timeout", "Till": ZERO_S + 32});
    Story::new()
        .db((0, 10), take(30, 0), 200, got(1, 30))
        .lost((20, 100), gone)
        .db((200, 1_020), take(30, 20), 200, got(3, 31))
        .db((1_000, 1_010), unlock(1), 200, json!({}))
        .db((2_000, 2_010), unlock(3), 200, json!({}))
        .db((1_500, 11_500), take(30, 10), 409, refusal)
        .is_clean();
}

#[test]
fn a_lost_check_ends_no_hold() {
    let check = json!({"LockID": "l", "UnlockID": "l", "Unlock": 1, "LockDur": 0});
    Story::new()
        .db((0, 10), take(5, 0), 200, got(1, 5))
        .lost((20, 30), check)
        .db((900, 1_020), take(5, 2), 200, got(2, 6))
        .is_refused_by(CHECKER);
}
