//! Decisions that random sequences do not reach: exact bytes of answers, the bounds of their size,
//! what is kept beside idempotency ids, and what tells one request from another.

// Helpers outside of `#[test]` functions: what can't happen may panic here.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use dragon_core::batch::RowMap;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::{Turn, decide};
use dragon_core::layout::{self, Corrupt, Kept};
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Rows, Verdict};

const NOW_MS: u64 = 1_700_000_000_999;

#[derive(Default)]
struct Account0 {
    rows: RowMap,
    limits: Limits,
}

impl Rows for &mut Account0 {
    type Error = Corrupt;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Corrupt> {
        Ok(self.rows.get(cell).cloned().flatten())
    }
}

impl Account0 {
    fn decide(&mut self, draft: Draft, now_ms: u64) -> Verdict {
        let request = Request::new(account(), draft, &self.limits).unwrap();
        let mut rows = &mut *self;
        let decision = decide(&request, Turn::First, &mut rows, now_ms).unwrap();
        self.rows.extend(decision.writes);
        decision.verdict
    }

    fn answer(&mut self, draft: Draft) -> String {
        match self.decide(draft, NOW_MS) {
            Verdict::Applied(applied) => String::from_utf8(applied.answer.into()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn account() -> Account {
    Account::new("a").unwrap()
}

fn set(key: &str, json: &str) -> SetDraft {
    SetDraft { key: key.into(), value: Some(Bytes::copy_from_slice(json.as_bytes())), ..Default::default() }
}

fn sets(kv_set: Vec<SetDraft>) -> Draft {
    Draft { kv_set, ..Default::default() }
}

fn get(keys: &[&str]) -> Draft {
    Draft { kv_get: keys.iter().map(|key| (*key).to_owned()).collect(), ..Default::default() }
}

fn add(key: &str, add: i64) -> AtomicDraft {
    AtomicDraft { key: key.into(), add: Some(add), ..Default::default() }
}

fn with_ids(ids: &[&str], draft: Draft) -> Draft {
    Draft { idempotency_ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..draft }
}

/// The kept answer, and whether the request is the same.
fn duplicate(verdict: Verdict) -> (Option<Bytes>, bool) {
    match verdict {
        Verdict::Rejected(Rejection::DuplicateRequest { response, same_request, .. }) => {
            (response, same_request)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_has_its_fields_in_the_contracts_order_and_values_as_sent() {
    let mut account = Account0::default();
    let value = r#"{"b":1.0,"a":[18446744073709551616,"\ud800","\u0041"]}"#;
    assert_eq!(account.answer(sets(vec![set("k", value)])), r#"{"Version":1}"#);
    let all = Draft {
        lock_id: Some("l".into()),
        lock_dur_s: Some(1),
        atomic: vec![add("c", 5), AtomicDraft { key: "q\"".into(), ..Default::default() }],
        kv_set: vec![set("k", "null")],
        ..get(&["k", "none"])
    };
    let expected = format!(
        "{{\"Lock\":2,\"Till\":1700000001,\"Atomic\":[{{\"Key\":\"c\",\"Value\":5}},\
         {{\"Key\":\"q\\\"\",\"Value\":0}}],\"KV\":[{{\"Key\":\"k\",\"Version\":1,\"Value\":{value}}},\
         {{\"Key\":\"none\",\"Version\":0}}],\"Version\":2}}"
    );
    assert_eq!(account.answer(all), expected);
    let unlock = Draft { unlock_id: Some("l".into()), unlock: Some(2), ..Default::default() };
    assert_eq!(account.answer(unlock), "{}");
    assert_eq!(account.answer(get(&["k"])), r#"{"KV":[{"Key":"k","Version":2,"Value":null}]}"#);
    assert_eq!(account.answer(with_ids(&["i"], Draft::default())), "{}");
    assert_eq!(account.answer(sets(vec![set("k", "1")])), r#"{"Version":5}"#);
}

#[test]
fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let mut account = Account0::default();
    account.answer(sets(vec![set("k", &format!("\"{}\"", "v".repeat(100)))]));
    let bytes = account.answer(get(&["k", "none"])).len();
    account.limits.answer_bytes = bytes;
    assert_eq!(account.answer(get(&["k", "none"])).len(), bytes);
    account.limits.answer_bytes = bytes - 1;
    let too_large = Verdict::Rejected(Rejection::AnswerTooLarge { bytes_max: bytes - 1 });
    assert_eq!(account.decide(get(&["k", "none"]), NOW_MS), too_large);
    assert_eq!(account.decide(get(&["k", "k"]), NOW_MS), too_large);
    // What is refused for its answer leaves nothing.
    let rows = account.rows.clone();
    let draft = with_ids(&["i"], Draft { kv_set: vec![set("k", "1")], ..get(&["k", "none"]) });
    let draft = Draft { lock_id: Some("l".into()), lock_dur_s: Some(1), ..draft };
    assert_eq!(account.decide(draft, NOW_MS), too_large);
    assert_eq!(account.rows, rows);
}

#[test]
fn an_answer_is_kept_up_to_64_kib_and_once_for_all_ids() {
    const KEPT_BYTES_MAX: usize = 64 << 10;
    let mut account = Account0::default();
    let envelope = r#"{"KV":[{"Key":"k","Version":1,"Value":""}]}"#.len();
    for (len, is_kept) in [(KEPT_BYTES_MAX, true), (KEPT_BYTES_MAX + 1, false)] {
        account.rows.clear();
        account.answer(sets(vec![set("k", &format!("\"{}\"", "v".repeat(len - envelope)))]));
        let draft = with_ids(&["i", "j", "k"], get(&["k"]));
        let answer = account.answer(draft.clone());
        assert_eq!(answer.len(), len);
        let kept = ["i", "j", "k"].map(|id| {
            let cell = Cell::new(&self::account(), Kind::Idempotency, id);
            layout::read_idempotency(&cell, account.rows[&cell].as_ref().unwrap()).unwrap().1
        });
        let copies = kept.iter().filter(|kept| matches!(kept, Kept::Answer(_))).count();
        assert_eq!(copies, usize::from(is_kept), "the answer is kept once");
        for id in ["i", "j", "k"] {
            let (response, _) = duplicate(account.decide(with_ids(&[id], Draft::default()), NOW_MS));
            assert_eq!(response, is_kept.then(|| answer.clone().into()), "beside {id}");
        }
        assert!(duplicate(account.decide(draft, NOW_MS)).1);
    }
}

#[test]
fn a_request_is_the_same_when_it_means_the_same() {
    let base = || Draft {
        lock_id: Some("l".into()),
        lock_dur_s: Some(1),
        lock_owner: Some("o".into()),
        atomic: vec![add("c", 1)],
        kv_set: vec![SetDraft { ttl_s: Some(9), if_version: Some(0), ..set("k", "1") }],
        ..with_ids(&["i"], get(&["g"]))
    };
    let mut account = Account0::default();
    account.answer(base());
    let mut same = |draft: Draft| duplicate(account.decide(draft, NOW_MS)).1;
    assert!(same(base()));
    // A default that is written out means the same.
    assert!(same(Draft { idempotency_ttl_s: Some(86_400), lock_wait_s: Some(0), ..base() }));
    let others = [
        with_ids(&["i", "j"], base()),
        Draft { idempotency_ttl_s: Some(86_399), ..base() },
        Draft { unlock_id: Some("u".into()), unlock: Some(1), ..base() },
        Draft { lock_id: Some("m".into()), ..base() },
        Draft { lock_dur_s: Some(2), ..base() },
        Draft { lock_wait_s: Some(1), ..base() },
        Draft { lock_owner: None, ..base() },
        Draft { atomic: vec![add("c", 2)], ..base() },
        Draft { atomic: vec![AtomicDraft { if_eq: Some(0), ..add("c", 1) }], ..base() },
        Draft { atomic: vec![AtomicDraft { add: None, set: Some(1), ..add("c", 1) }], ..base() },
        Draft { atomic: vec![add("c", 1), add("c", 1)], ..base() },
        Draft { kv_set: vec![SetDraft { ttl_s: Some(9), if_version: Some(0), ..set("k", "1.0") }], ..base() },
        Draft { kv_set: vec![SetDraft { ttl_s: None, if_version: Some(0), ..set("k", "1") }], ..base() },
        Draft { kv_set: vec![SetDraft { ttl_s: Some(9), ..set("k", "1") }], ..base() },
        Draft { kv_set: Vec::new(), ..base() },
        Draft { kv_get: vec!["h".into()], ..base() },
        Draft { kv_get: vec!["g".into(), "g".into()], ..base() },
    ];
    for (at, other) in others.into_iter().enumerate() {
        assert!(!same(other), "number {at} is another request");
    }
}

#[test]
fn conditions_are_reported_sets_first_then_counters_in_order() {
    let mut account = Account0::default();
    account.answer(Draft { atomic: vec![add("c", 1)], ..sets(vec![set("k", "1"), set("l", "1")]) });
    let failing = |key: &str| SetDraft { if_version: Some(7), ..set(key, "2") };
    let unequal = |key: &str| AtomicDraft { if_eq: Some(9), ..add(key, 1) };
    let overflow = vec![AtomicDraft { set: Some(i64::MAX), add: None, ..add("d", 0) }, add("d", 1)];
    let draft = Draft {
        atomic: [overflow.clone(), vec![unequal("c"), unequal("d")]].concat(),
        ..sets(vec![set("m", "1"), failing("l"), failing("k")])
    };
    let key = "l".to_owned();
    let expected = Verdict::Rejected(Rejection::VersionMismatch { key, version: 1 });
    assert_eq!(account.decide(draft.clone(), NOW_MS), expected);
    let expected = Verdict::Rejected(Rejection::ValueMismatch { key: "c".into(), value: 1 });
    assert_eq!(account.decide(Draft { kv_set: Vec::new(), ..draft }, NOW_MS), expected);
    let expected = Verdict::Rejected(Rejection::CounterOverflow { key: "d".into() });
    assert_eq!(account.decide(Draft { atomic: overflow, ..Draft::default() }, NOW_MS), expected);
}

#[test]
fn one_counter_many_times_in_a_long_request_is_changed_in_order() {
    let mut account = Account0::default();
    let entries = (0..900_usize).map(|at| match at % 9 {
        8 => AtomicDraft { key: "odd".into(), delete: true, ..Default::default() },
        7 => AtomicDraft { key: "even".into(), ..Default::default() },
        _ => add(if at % 2 == 0 { "even" } else { "odd" }, 1),
    });
    let entries: Vec<AtomicDraft> = entries.collect();
    let (mut even, mut odd) = (0, 0);
    let expected: Vec<i64> = entries
        .iter()
        .map(|entry| {
            let counter = if entry.key == "odd" { &mut odd } else { &mut even };
            *counter += entry.add.unwrap_or(0);
            if entry.delete {
                *counter = 0;
            }
            *counter
        })
        .collect();
    let answer: serde_json::Value =
        serde_json::from_str(&account.answer(Draft { atomic: entries, ..Draft::default() })).unwrap();
    let values = answer["Atomic"].as_array().unwrap().iter();
    assert_eq!(values.map(|entry| entry["Value"].as_i64().unwrap()).collect::<Vec<_>>(), expected);
    let cell = |key: &str| Cell::new(&self::account(), Kind::Counter, key);
    assert_eq!(account.rows[&cell("odd")], None);
    let row = account.rows[&cell("even")].as_ref();
    assert_eq!(layout::read_counter(&cell("even"), row).unwrap(), even);
}

#[test]
fn the_servers_own_release_takes_the_lock_back() {
    let mut account = Account0::default();
    account.answer(Draft { lock_id: Some("l".into()), lock_dur_s: Some(9), ..Draft::default() });
    let lock = Cell::new(&self::account(), Kind::Lock, "l");
    let mut release = |handle| {
        let held = dragon_core::request::Held { cell: lock.clone(), handle };
        let request = Request::release(self::account(), held);
        let mut rows = &mut account;
        let decision = decide(&request, Turn::First, &mut rows, NOW_MS).unwrap();
        account.rows.extend(decision.writes);
        (matches!(decision.verdict, Verdict::Applied(_)), account.rows[&lock].is_some())
    };
    assert_eq!(release(7), (false, true));
    assert_eq!(release(1), (true, false));
}

#[test]
fn an_answer_is_never_taken_from_another_request_that_reuses_the_id_beside() {
    let mut account = Account0::default();
    let first = Draft { idempotency_ttl_s: Some(1), ..with_ids(&["i", "j"], sets(vec![set("k", "1")])) };
    account.answer(first);
    // A sweep by a clock that was ahead took only `i`; by the clock that is right both are live.
    account.rows.insert(Cell::new(&self::account(), Kind::Idempotency, "i"), None);
    let second = with_ids(&["i"], Draft { atomic: vec![add("c", 77)], ..Default::default() });
    account.answer(second);
    let retry = with_ids(&["j"], sets(vec![set("k", "1")]));
    assert_eq!(duplicate(account.decide(retry, NOW_MS)), (None, false));
}
