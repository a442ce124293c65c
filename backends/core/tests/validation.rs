//! Every rule by which a draft is no request: each limit at its bound and one past it, fields without
//! the field they belong to, and names given twice.

// Helpers outside of `#[test]` functions: what can't happen may panic here.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use dragon_core::cell::{Account, Kind};
use dragon_core::limits::Limits;
use dragon_core::page::Query;
use dragon_core::request::{AtomicDraft, Draft, Invalid, LockStep, Request, SetDraft};

fn limits() -> Limits {
    Limits::default()
}

fn account() -> Account {
    Account::new("a").unwrap()
}

fn check(draft: Draft) -> Result<Request, Invalid> {
    Request::new(account(), draft, &limits())
}

/// The field that is named as invalid.
fn refused(draft: Draft) -> String {
    match check(draft.clone()).map(|_| draft).unwrap_err() {
        Invalid::Field { field, problem } => {
            assert!(!problem.is_empty());
            field
        }
        Invalid::TooLarge { field, .. } => format!("{field} too large"),
    }
}

fn set(key: &str, json: &str) -> SetDraft {
    SetDraft { key: key.into(), value: Some(Bytes::copy_from_slice(json.as_bytes())), ..Default::default() }
}

fn sets(kv_set: Vec<SetDraft>) -> Draft {
    Draft { kv_set, ..Default::default() }
}

fn atomics(atomic: Vec<AtomicDraft>) -> Draft {
    Draft { atomic, ..Default::default() }
}

fn gets(keys: &[String]) -> Draft {
    Draft { kv_get: keys.to_vec(), ..Default::default() }
}

fn ids(ids: &[String]) -> Draft {
    Draft { idempotency_ids: ids.to_vec(), ..Default::default() }
}

fn lock(id: &str, dur_s: u64) -> Draft {
    Draft { lock_id: Some(id.into()), lock_dur_s: Some(dur_s), ..Default::default() }
}

fn unlock(id: &str, handle: u64) -> Draft {
    Draft { unlock_id: Some(id.into()), unlock: Some(handle), ..Default::default() }
}

fn extend(dur_s: u64) -> Draft {
    Draft { unlock_id: Some("l".into()), unlock: Some(1), ..lock("l", dur_s) }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("k{number}")).collect()
}

#[test]
fn something_must_be_asked() {
    assert_eq!(refused(Draft::default()), "the request");
    for draft in [ids(&numbered(1)), unlock("l", 1), lock("l", 1), gets(&numbered(1))] {
        assert!(check(draft).is_ok());
    }
}

#[test]
fn names_are_checked_in_every_place() {
    type Place = (&'static str, fn(&str) -> Draft);
    let places: [Place; 6] = [
        ("IdempotencyIDs[0]", |id| ids(&[id.to_owned()])),
        ("UnlockID", |id| unlock(id, 1)),
        ("LockID", |id| lock(id, 1)),
        ("Atomic[0].Key", |key| atomics(vec![AtomicDraft { key: key.into(), ..Default::default() }])),
        ("KVSet[0].Key", |key| sets(vec![set(key, "1")])),
        ("KVGet[0].Key", |key| gets(&[key.to_owned()])),
    ];
    let longest = "k".repeat(512);
    let longest_wide = "é".repeat(256);
    for (field, draft) in places {
        for good in ["k", " ", ".", "\u{1}", "/a/../b", &longest, &longest_wide] {
            assert!(check(draft(good)).is_ok(), "{field}: {good:?}");
        }
        for bad in ["", "\0", "a\0b", &format!("{longest}k"), &format!("{longest_wide}k")] {
            assert_eq!(refused(draft(bad)), field, "{bad:?}");
        }
    }
}

#[test]
fn operations_are_counted_together() {
    let mixed = |gets: usize| Draft {
        kv_get: numbered(gets),
        kv_set: numbered(300).iter().map(|key| set(key, "1")).collect(),
        atomic: numbered(300).into_iter().map(|key| AtomicDraft { key, ..Default::default() }).collect(),
        ..Default::default()
    };
    assert!(check(mixed(400)).is_ok());
    assert_eq!(refused(mixed(401)), "KVSet, KVGet and Atomic");
}

#[test]
fn idempotency_ids_are_few_distinct_and_kept_for_a_while() {
    assert!(check(ids(&numbered(100))).is_ok());
    assert_eq!(refused(ids(&numbered(101))), "IdempotencyIDs");
    let twice = ["a", "b", "a"].map(str::to_owned);
    assert_eq!(refused(ids(&twice)), "IdempotencyIDs[2]");
    let kept = |ttl_s| Draft { idempotency_ttl_s: Some(ttl_s), ..ids(&numbered(1)) };
    for ttl_s in [1, 2_592_000] {
        assert_eq!(check(kept(ttl_s)).unwrap().idempotency().unwrap().ttl_s, ttl_s);
    }
    for ttl_s in [0, 2_592_001, u64::MAX] {
        assert_eq!(refused(kept(ttl_s)), "IdempotencyTTL");
    }
    assert_eq!(check(ids(&numbered(1))).unwrap().idempotency().unwrap().ttl_s, 86_400);
    let stray = Draft { idempotency_ttl_s: Some(1), ..gets(&numbered(1)) };
    assert_eq!(refused(stray), "IdempotencyTTL");
}

#[test]
fn a_lock_needs_its_duration_and_strays_are_refused() {
    for dur_s in [1, 86_400] {
        assert!(matches!(check(lock("l", dur_s)).unwrap().lock(), LockStep::Acquire(_)));
    }
    for dur_s in [0, 86_401] {
        assert_eq!(refused(lock("l", dur_s)), "LockDur");
    }
    assert_eq!(refused(Draft { lock_dur_s: None, ..lock("l", 1) }), "LockDur");
    let wait = |wait_s| Draft { lock_wait_s: Some(wait_s), ..lock("l", 1) };
    assert_eq!(check(lock("l", 1)).unwrap().wanted().unwrap().wait_s, 0);
    for wait_s in [0, 300] {
        assert_eq!(check(wait(wait_s)).unwrap().wanted().unwrap().wait_s, wait_s);
    }
    assert_eq!(refused(wait(301)), "LockWait");
    let owner = |len: usize| Draft { lock_owner: Some("o".repeat(len)), ..lock("l", 1) };
    assert!(check(owner(0)).is_ok());
    assert!(check(owner(256)).is_ok());
    assert_eq!(refused(owner(257)), "LockOwner");
    let wide = Draft { lock_owner: Some("é".repeat(128) + "o"), ..lock("l", 1) };
    assert_eq!(refused(wide), "LockOwner");
    // A mistyped LockID must not run unlocked.
    let without_id = |draft: Draft| Draft { lock_id: None, ..draft };
    for base in [gets(&numbered(1)), unlock("l", 1)] {
        let base = || base.clone();
        assert_eq!(refused(Draft { lock_dur_s: Some(1), ..without_id(base()) }), "LockDur");
        assert_eq!(refused(Draft { lock_wait_s: Some(0), ..without_id(base()) }), "LockWait");
        assert_eq!(refused(Draft { lock_owner: Some(String::new()), ..without_id(base()) }), "LockOwner");
    }
}

#[test]
fn an_unlock_needs_its_handle() {
    for handle in [0, 1, i64::MAX as u64] {
        assert_eq!(check(unlock("l", handle)).unwrap().released().unwrap().handle, handle);
    }
    assert_eq!(refused(unlock("l", i64::MAX as u64 + 1)), "Unlock");
    assert_eq!(refused(Draft { unlock: None, ..unlock("l", 1) }), "Unlock");
    assert_eq!(refused(Draft { unlock_id: None, ..unlock("l", 1) }), "Unlock");
    assert_eq!(refused(Draft { unlock: Some(1), ..lock("l", 1) }), "Unlock");
}

#[test]
fn only_an_extend_may_have_no_duration() {
    let dur_s = |draft: Draft| match check(draft).unwrap().lock() {
        LockStep::Extend { dur_s, .. } => *dur_s,
        other => panic!("{other:?}"),
    };
    assert_eq!(dur_s(extend(0)), None);
    assert_eq!(dur_s(extend(1)), Some(1));
    assert_eq!(dur_s(extend(86_400)), Some(86_400));
    assert_eq!(refused(extend(86_401)), "LockDur");
    assert_eq!(refused(Draft { lock_dur_s: None, ..extend(1) }), "LockDur");
    assert_eq!(refused(Draft { lock_wait_s: Some(301), ..extend(1) }), "LockWait");
    let pass = |dur_s| Draft { lock_id: Some("m".into()), ..extend(dur_s) };
    assert!(matches!(check(pass(1)).unwrap().lock(), LockStep::Pass(..)));
    assert_eq!(refused(pass(0)), "LockDur");
}

#[test]
fn a_counter_has_one_change() {
    let key = || "k".to_owned();
    let good = [
        AtomicDraft { key: key(), ..Default::default() },
        AtomicDraft { key: key(), add: Some(i64::MIN), ..Default::default() },
        AtomicDraft { key: key(), set: Some(i64::MAX), if_eq: Some(i64::MIN), ..Default::default() },
        AtomicDraft { key: key(), delete: true, if_eq: Some(0), ..Default::default() },
    ];
    // The same counter may come up several times.
    assert_eq!(check(atomics(good.to_vec())).unwrap().counters().len(), 4);
    let bad = [
        AtomicDraft { key: key(), add: Some(0), set: Some(0), ..Default::default() },
        AtomicDraft { key: key(), add: Some(0), delete: true, ..Default::default() },
        AtomicDraft { key: key(), set: Some(0), delete: true, ..Default::default() },
        AtomicDraft { key: key(), add: Some(1), set: Some(0), delete: true, if_eq: None },
    ];
    for bad in bad {
        assert_eq!(refused(atomics(vec![good[0].clone(), bad])), "Atomic[1]");
    }
}

#[test]
fn a_set_has_a_value_or_deletes() {
    let delete = SetDraft { key: "k".into(), delete: true, ..Default::default() };
    assert!(check(sets(vec![SetDraft { if_version: Some(1), ..delete.clone() }])).is_ok());
    assert_eq!(refused(sets(vec![SetDraft { delete: true, ..set("k", "1") }])), "KVSet[0]");
    assert_eq!(refused(sets(vec![SetDraft { delete: false, ..delete.clone() }])), "KVSet[0]");
    assert_eq!(refused(sets(vec![SetDraft { ttl_s: Some(1), ..delete.clone() }])), "KVSet[0].TTL");
    assert_eq!(refused(sets(vec![set("k", "1"), set("l", "1"), delete])), "KVSet[2].Key");
    assert_eq!(check(sets(vec![set("k", "1"), set("K", "1")])).unwrap().sets().len(), 2);
    for ttl_s in [1, 3_153_600_000] {
        assert!(check(sets(vec![SetDraft { ttl_s: Some(ttl_s), ..set("k", "1") }])).is_ok());
    }
    for ttl_s in [0, 3_153_600_001, u64::MAX] {
        assert_eq!(refused(sets(vec![SetDraft { ttl_s: Some(ttl_s), ..set("k", "1") }])), "KVSet[0].TTL");
    }
    let version = |version| sets(vec![SetDraft { if_version: Some(version), ..set("k", "1") }]);
    assert!(check(version(0)).is_ok());
    assert!(check(version(i64::MAX as u64)).is_ok());
    assert_eq!(refused(version(i64::MAX as u64 + 1)), "KVSet[0].IfVersion");
}

#[test]
fn values_are_at_most_a_mebibyte_and_128_levels_deep() {
    let string = |len: usize| format!("\"{}\"", "v".repeat(len - 2));
    assert!(check(sets(vec![set("k", &string(1 << 20))])).is_ok());
    assert_eq!(refused(sets(vec![set("k", &string((1 << 20) + 1))])), "KVSet[0].Value too large");
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(check(sets(vec![set("k", &nested(128))])).is_ok());
    assert_eq!(refused(sets(vec![set("k", "1"), set("l", &nested(129))])), "KVSet[1].Value");
    let brackets = format!("\"{}\"", "[{".repeat(500));
    assert!(check(sets(vec![set("k", &brackets)])).is_ok());
}

#[test]
fn the_same_key_may_be_read_twice_and_set_too() {
    let draft = Draft { kv_get: vec!["k".into(), "k".into()], ..sets(vec![set("k", "1")]) };
    let request = check(draft).unwrap();
    assert_eq!((request.gets().len(), request.sets().len()), (2, 1));
}

#[test]
fn lowered_limits_are_kept() {
    let low = Limits {
        operations: 2,
        value_bytes: 3,
        value_depth: 1,
        key_bytes: 2,
        idempotency_ids: 1,
        ..Limits::default()
    };
    let fits = |draft: Draft| Request::new(account(), draft, &low).is_ok();
    assert!(fits(gets(&numbered(2))) && !fits(gets(&numbered(3))));
    assert!(fits(sets(vec![set("k", "123")])) && !fits(sets(vec![set("k", "1234")])));
    assert!(fits(sets(vec![set("k", "[]")])) && !fits(sets(vec![set("k", "[[")])));
    assert!(fits(lock("kk", 1)) && !fits(lock("kkk", 1)));
    assert!(fits(ids(&numbered(1))) && !fits(ids(&numbered(2))));
}

#[test]
fn a_request_is_a_read_when_nothing_in_it_writes() {
    let read = AtomicDraft { key: "c".into(), if_eq: Some(1), ..Default::default() };
    let reads = Draft { atomic: vec![read], ..gets(&numbered(1)) };
    assert!(check(reads.clone()).unwrap().is_read());
    assert!(!check(reads).unwrap().is_mark());
    assert!(Request::mark(account()).is_read() && Request::mark(account()).is_mark());
    let add = AtomicDraft { key: "c".into(), add: Some(0), ..Default::default() };
    let writes = [ids(&numbered(1)), lock("l", 1), unlock("l", 1), extend(0), atomics(vec![add])];
    for draft in writes.into_iter().chain([sets(vec![set("k", "1")])]) {
        assert!(!check(draft).unwrap().is_read());
    }
}

#[test]
fn pages_have_bounds() {
    let query = |prefix: &str, after: &str, entries: Option<u64>| {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        Query::new(account(), Kind::Value, prefix, after, entries, &limits())
    };
    let field = |result: Result<Query, Invalid>| match result {
        Err(Invalid::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(query("", "", None).unwrap().entries_max, 100);
    assert_eq!(query("", "", Some(1)).unwrap().entries_max, 1);
    assert_eq!(query("", "", Some(1_000)).unwrap().entries_max, 1_000);
    assert_eq!(field(query("", "", Some(0))), "Limit");
    assert_eq!(field(query("", "", Some(1_001))), "Limit");
    let (longest, longer) = ("k".repeat(512), "k".repeat(513));
    assert!(query(&longest, &longest, None).is_ok());
    assert_eq!(field(query(&longer, "", None)), "Prefix");
    assert_eq!(field(query("", &longer, None)), "After");
    assert_eq!(field(query("a\0", "", None)), "Prefix");
    assert_eq!(field(query("", "\0", None)), "After");
}
