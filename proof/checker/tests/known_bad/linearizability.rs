//! Whole requests: stale reads, lost and torn writes, what is refused for no reason, what is forgotten.

use crate::story::{Story, ZERO_S};
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};

const CHECKER: &str = "linearizability";

fn set(key: &str, value: u64) -> Value {
    json!({"KVSet": [{"Key": key, "Value": value}]})
}

fn get(key: &str) -> Value {
    json!({"KVGet": [{"Key": key}]})
}

fn read(key: &str, version: u64, value: u64) -> Value {
    json!({"KV": [{"Key": key, "Version": version, "Value": value}]})
}

fn nothing(key: &str) -> Value {
    json!({"KV": [{"Key": key, "Version": 0}]})
}

fn version(version: u64) -> Value {
    json!({"Version": version})
}

#[test]
fn stale_reads() {
    let written = || Story::new().db((0, 10), set("k", 1), 200, version(1));
    written().db((11, 20), get("k"), 200, read("k", 1, 1)).is_clean();
    written().db((11, 20), get("k"), 200, nothing("k")).is_refused_by(CHECKER);
    // While the write is under way both may be read, but not the new one first.
    written().db((5, 8), get("k"), 200, nothing("k")).is_clean();
    written().db((5, 6), get("k"), 200, nothing("k")).db((7, 8), get("k"), 200, read("k", 1, 1)).is_clean();
    let back = written().db((5, 6), get("k"), 200, read("k", 1, 1)).db((7, 8), get("k"), 200, nothing("k"));
    back.is_refused_by(CHECKER);
}

#[test]
fn a_read_of_two_keys_sees_one_moment() {
    let both = json!({"KVSet": [{"Key": "k", "Value": 1}, {"Key": "l", "Value": 1}]});
    let story = || Story::new().db((0, 10), both.clone(), 200, version(1));
    let read = |k: Value, l: Value| json!({"KV": [k["KV"][0], l["KV"][0]]});
    let gets = json!({"KVGet": [{"Key": "k"}, {"Key": "l"}]});
    let torn = read(read_of("k"), nothing("l"));
    story().db((1, 9), gets.clone(), 200, read(read_of("k"), read_of("l"))).is_clean();
    story().db((1, 9), gets, 200, torn).is_refused_by(CHECKER);
}

fn read_of(key: &str) -> Value {
    read(key, 1, 1)
}

#[test]
fn revisions_rise_by_one() {
    let first = || Story::new().db((0, 10), set("k", 1), 200, version(1));
    first().db((11, 20), set("k", 2), 200, version(2)).is_clean();
    first().db((11, 20), set("k", 2), 200, version(3)).is_refused_by(CHECKER);
    first().db((11, 20), set("k", 2), 200, version(1)).is_refused_by(CHECKER);
    // A third one of which nothing is known explains it.
    first().lost((11, 12), set("l", 1)).db((13, 20), set("k", 2), 200, version(3)).is_clean();
    first().refused((11, 12), set("l", 1)).db((13, 20), set("k", 2), 200, version(3)).is_refused_by(CHECKER);
}

#[test]
fn what_is_lost_may_come_late_or_never() {
    let story = || Story::new().lost((0, 5), set("k", 1));
    story().db((10, 11), get("k"), 200, nothing("k")).db((20, 21), get("k"), 200, read("k", 1, 1)).is_clean();
    story().db((10, 11), get("k"), 200, nothing("k")).db((20, 21), get("k"), 200, nothing("k")).is_clean();
    let gone = story().db((10, 11), get("k"), 200, read("k", 1, 1)).db((20, 21), get("k"), 200, nothing("k"));
    gone.is_refused_by(CHECKER);
    // Not before it was asked for.
    Story::new().db((0, 1), get("k"), 200, read("k", 1, 1)).lost((2, 5), set("k", 1)).is_refused_by(CHECKER);
}

#[test]
fn many_lost_ones_are_decided() {
    let mut story = Story::new();
    for lost in 0..12 {
        story = story.lost((lost, 20), set(&format!("k{}", lost % 3), 100 + lost));
    }
    // Six of them came, in an order that only the versions tell.
    let shown = json!({"KV": [
        {"Key": "k0", "Version": 5, "Value": 103}, {"Key": "k1", "Version": 3, "Value": 110}, {"Key": "k2", "Version": 6, "Value": 102},
    ]});
    let listed = |story: Story| story.told((30, 31), Endpoint::List, json!({}), 200, shown.clone());
    listed(story).db((40, 41), set("k", 1), 200, version(7)).is_clean();
}

#[test]
fn conditions() {
    let story = || Story::new().db((0, 10), set("k", 1), 200, version(1));
    let guarded = |if_version: u64| json!({"KVSet": [{"Key": "k", "Value": 2, "IfVersion": if_version}]});
    let refusal =
        |version: u64| json!({"Code": "precondition_failed", "Message": "…", "Key": "k", "Version": version});
    story().db((11, 20), guarded(1), 200, version(2)).is_clean();
    story().db((11, 20), guarded(0), 409, refusal(1)).is_clean();
    story().db((11, 20), guarded(0), 200, version(2)).is_refused_by(CHECKER);
    story().db((11, 20), guarded(1), 409, refusal(1)).is_refused_by(CHECKER);
    story().db((11, 20), guarded(0), 409, refusal(2)).is_refused_by(CHECKER);
}

#[test]
fn an_id_whose_writes_are_missing() {
    let pay = json!({"IdempotencyIDs": ["i"], "Atomic": [{"Key": "c", "Add": 1}]});
    let answer = json!({"Atomic": [{"Key": "c", "Value": 1}], "Version": 1});
    let duplicate = json!({"Code": "duplicate_request", "ID": "i", "SameRequest": true, "Response": answer});
    let counter = |value: i64| json!({"Counters": [{"Key": "c", "Value": value}]});
    let story = || Story::new().lost((0, 5), pay.clone()).db((10, 11), pay.clone(), 409, duplicate.clone());
    let list = json!({"Kind": "Counters"});
    story().told((20, 21), Endpoint::List, list.clone(), 200, counter(1)).is_clean();
    story().told((20, 21), Endpoint::List, list, 200, json!({"Counters": []})).is_refused_by(CHECKER);
}

#[test]
fn a_value_that_expires() {
    let short = json!({"KVSet": [{"Key": "k", "Value": 1, "TTL": 1}]});
    let story = || Story::new().db((0, 10), short.clone(), 200, version(1));
    story().db((500, 501), get("k"), 200, read("k", 1, 1)).is_clean();
    story().db((500, 501), get("k"), 200, nothing("k")).is_refused_by(CHECKER);
    story().db((1_100, 1_101), get("k"), 200, nothing("k")).is_clean();
    story().db((1_100, 1_101), get("k"), 200, read("k", 1, 1)).is_refused_by(CHECKER);
    // Within the bounds of its end either may be seen, but not both in the wrong order.
    let seen = |first: Value, second: Value| {
        story().db((1_003, 1_004), get("k"), 200, first).db((1_005, 1_006), get("k"), 200, second)
    };
    seen(read("k", 1, 1), nothing("k")).is_clean();
    seen(nothing("k"), read("k", 1, 1)).is_refused_by(CHECKER);
}

#[test]
fn lists_and_watches_are_reads() {
    let story = || {
        Story::new().db((0, 10), set("k1", 1), 200, version(1)).db((11, 20), set("k2", 2), 200, version(2))
    };
    let entry = |key: &str, number: u64| json!({"Key": key, "Version": number, "Value": number});
    let page = |story: Story, body: Value, page: Value| story.told((30, 31), Endpoint::List, body, 200, page);
    page(story(), json!({}), json!({"KV": [entry("k1", 1), entry("k2", 2)]})).is_clean();
    page(story(), json!({}), json!({"KV": [entry("k1", 1)]})).is_refused_by(CHECKER);
    page(story(), json!({"Limit": 1}), json!({"KV": [entry("k1", 1)], "More": true})).is_clean();
    page(story(), json!({"Limit": 1}), json!({"KV": [entry("k1", 1)]})).is_refused_by(CHECKER);
    page(story(), json!({"After": "k1"}), json!({"KV": [entry("k2", 2)]})).is_clean();
    page(story(), json!({"Prefix": "k2"}), json!({"KV": [entry("k1", 1)]})).is_refused_by(CHECKER);
    let watch = |story: Story, seen: u64, status: u16, answer: Value| {
        let body = json!({"ID": "k2", "Version": seen, "Wait": 0});
        story.told((30, 31), Endpoint::Watch, body, status, answer)
    };
    watch(story(), 0, 200, entry("k2", 2)).is_clean();
    watch(story(), 2, 204, Value::Null).is_clean();
    watch(story(), 0, 204, Value::Null).is_refused_by(CHECKER);
    watch(story(), 2, 200, entry("k2", 2)).is_refused_by(CHECKER);
}

#[test]
fn locks_are_part_of_the_state() {
    let take = |wait_s: u64| json!({"LockID": "l", "LockDur": 10, "LockWait": wait_s});
    let got = |handle: u64, second: u64| json!({"Lock": handle, "Till": ZERO_S + second, "Version": handle});
    let story = || Story::new().db((0, 10), take(0), 200, got(1, 10));
    story().db((20, 30), take(0), 200, got(2, 10)).is_refused_by(CHECKER);
    let refusal = json!({"Code": "lock_timeout", "Till": ZERO_S + 10});
    story().db((20, 30), take(0), 409, refusal.clone()).is_clean();
    Story::new().db((20, 30), take(0), 409, refusal).is_refused_by(CHECKER);
    let later = json!({"Code": "lock_timeout", "Till": ZERO_S + 12});
    story().db((20, 30), take(0), 409, later).is_refused_by(CHECKER);
    let unlock = json!({"UnlockID": "l", "Unlock": 1});
    story().db((20, 30), unlock.clone(), 200, json!({})).db((31, 40), take(0), 200, got(3, 10)).is_clean();
    let not_locked = json!({"Code": "not_locked", "ID": "l"});
    story().db((20, 30), unlock, 409, not_locked).is_refused_by(CHECKER);
    // A client that hung up may have been granted the lock, and the server may have given it back for it.
    let hung_up = || story().lost((20, 30), take(5));
    hung_up()
        .db((40, 50), json!({"UnlockID": "l", "Unlock": 1}), 200, json!({}))
        .db((60, 70), take(0), 200, got(5, 10))
        .is_clean();
    hung_up()
        .db((40, 50), json!({"UnlockID": "l", "Unlock": 1}), 200, json!({}))
        .db((60, 70), take(0), 200, got(6, 10))
        .is_refused_by(CHECKER);
}

#[test]
fn those_in_the_queue_are_not_overtaken() {
    let take = |wait_s: u64| json!({"LockID": "l", "LockDur": 10, "LockWait": wait_s});
    let free = json!({"Code": "lock_timeout", "Till": ZERO_S});
    Story::new().refused((0, 40), take(5)).db((20, 30), take(0), 409, free.clone()).is_clean();
    Story::new().refused((0, 10), take(5)).db((20, 30), take(0), 409, free).is_refused_by(CHECKER);
}

/// Two that touch nothing in common may still have to come in one order, because of the time.
#[test]
fn what_has_to_wait_for_a_lease_comes_after_what_was_asked_later() {
    let take =
        |lock: &str, dur_s: u64, wait_s: u64| json!({"LockID": lock, "LockDur": dur_s, "LockWait": wait_s});
    let got = |handle: u64, second: u64| json!({"Lock": handle, "Till": ZERO_S + second, "Version": handle});
    let list = json!({"Locks": [{"ID": "l", "Lock": 4, "Till": ZERO_S + 15, "Waiting": 0}]});
    Story::new()
        .db((0, 10), take("l", 5, 0), 200, got(1, 5))
        .db((20, 30), take("m", 60, 0), 200, got(2, 60))
        .lost((40, 9_000), take("l", 10, 8))
        .db((100, 110), json!({"UnlockID": "m", "Unlock": 2}), 200, json!({}))
        .told((9_100, 9_110), Endpoint::List, json!({"Kind": "Locks"}), 200, list)
        .is_clean();
}

#[test]
fn a_queue_that_nobody_is_in_any_more_refuses_nobody() {
    let take = |wait_s: u64| json!({"LockID": "l", "LockDur": 10, "LockWait": wait_s});
    let free = || json!({"Code": "lock_timeout", "Till": ZERO_S});
    let gone = || Story::new().lost((0, 100), take(5));
    gone().db((6_000, 6_010), take(0), 409, free()).is_clean();
    gone().db((60_000, 60_010), take(0), 409, free()).is_refused_by(CHECKER);
    // Where the lock is held, its own end must be told.
    let got = json!({"Lock": 1, "Till": ZERO_S + 10, "Version": 1});
    let held = Story::new().db((0, 10), take(0), 200, got).lost((20, 100), take(5));
    held.db((500, 510), take(0), 409, free()).is_refused_by(CHECKER);
}

#[test]
fn what_comes_later_comes_at_a_later_time() {
    let short = json!({"KVSet": [{"Key": "r", "Value": 1, "TTL": 10}]});
    let both = json!({"KVGet": [{"Key": "k"}, {"Key": "r"}]});
    let shown = json!({"KV": [read("k", 2, 1)["KV"][0], read("r", 1, 1)["KV"][0]]});
    Story::new()
        .db((0, 10), short, 200, version(1))
        .db((50_000, 50_010), set("k", 1), 200, version(2))
        .db((20, 100_000), both, 200, shown)
        .is_refused_by(CHECKER);
}

#[test]
fn what_is_seen_at_once_is_seen_at_one_time() {
    let take = |lock: &str| json!({"LockID": lock, "LockDur": 10, "KVGet": [{"Key": "k"}]});
    let set = json!({"LockID": "m", "LockDur": 10, "KVSet": [{"Key": "k", "Value": 1, "TTL": 30}]});
    let got = |handle: u64, second: u64| json!({"Lock": handle, "Till": ZERO_S + second, "Version": handle});
    let mut without = got(2, 15);
    without["KV"] = nothing("k")["KV"].clone();
    let story = Story::new().clock_off_by(60_000).db((0, 10), set, 200, got(1, 10));
    story.db((5_000, 5_010), take("n"), 200, without).is_refused_by(CHECKER);
}

#[test]
fn reads_between_two_lost_ones_tell_their_order() {
    let add = |key: &str| json!({"Atomic": [{"Key": key, "Add": 1}]});
    let both = json!({"Atomic": [{"Key": "c"}, {"Key": "d"}]});
    let shown = |c: i64, d: i64| json!({"Atomic": [{"Key": "c", "Value": c}, {"Key": "d", "Value": d}]});
    Story::new()
        .lost((0, 5), add("d"))
        .lost((1, 5), add("c"))
        .db((10, 50), both.clone(), 200, shown(1, 0))
        .db((30, 40), both, 200, shown(1, 1))
        .is_clean();
}

#[test]
fn a_kept_answer_tells_versions_too() {
    let once = json!({"IdempotencyIDs": ["i"], "KVGet": [{"Key": "l"}]});
    let response = read("l", 2, 1);
    let duplicate =
        json!({"Code": "duplicate_request", "ID": "i", "SameRequest": true, "Response": response});
    Story::new()
        .lost((0, 5), set("l", 1))
        .lost((1, 5), set("k", 1))
        .lost((10, 11), once.clone())
        .db((20, 30), once, 409, duplicate)
        .is_clean();
}

#[test]
fn a_page_is_no_longer_than_its_limit() {
    let short = json!({"KVSet": [{"Key": "b", "Value": 2, "TTL": 1}]});
    let entry = |key: &str, number: u64| json!({"Key": key, "Version": number, "Value": number});
    let page = json!({"KV": [entry("a", 1), entry("b", 2)]});
    Story::new()
        .db((0, 10), set("a", 1), 200, version(1))
        .db((11, 20), short, 200, version(2))
        .told((1_012, 1_013), Endpoint::List, json!({"Limit": 1}), 200, page)
        .is_refused_by(CHECKER);
}

#[test]
fn a_grant_tells_its_end() {
    let take = json!({"LockID": "l", "LockDur": 10});
    Story::new().db((0, 10), take, 200, json!({"Lock": 1, "Version": 1})).is_refused_by(CHECKER);
}
