//! The steps of an import: what each needs to have come before, and which driver may take it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use dragon_core::batch::{Entry, RowMap, decide_batch};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout::{Corrupt, Header, read_meta, write_value};
use dragon_core::limits::{Limits, REVISIONS_SKIPPED};
use dragon_core::replace::{Action, Step};
use dragon_core::request::{Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Rows, Verdict};
use std::sync::Arc;

#[derive(Default)]
struct Store(RowMap);

impl Rows for &mut Store {
    type Error = Corrupt;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Corrupt> {
        Ok(self.0.get(cell).cloned().flatten())
    }
}

fn account() -> Account {
    Account::new("a").unwrap()
}

fn value(key: &str) -> Cell {
    Cell::new(&account(), Kind::Value, key)
}

impl Store {
    fn commit(&mut self, request: Request) -> Verdict {
        let entry = Entry { request: Arc::new(request), turn: Turn::First };
        let mut decided = decide_batch([&entry], &mut &mut *self, 1_000).unwrap();
        self.0.extend(decided.writes);
        decided.verdicts.remove(0)
    }

    /// Whether a step is taken.
    fn step(&mut self, driver: u64, action: Action) -> bool {
        match self.commit(Request::step(account(), Step { driver, action })) {
            Verdict::Applied(_) => true,
            Verdict::Rejected(Rejection::Replacing) => false,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, draft: Draft) -> Verdict {
        self.commit(Request::new(account(), draft, &Limits::default()).unwrap())
    }

    fn set(&mut self, key: &str) -> Verdict {
        let set = SetDraft { key: key.into(), value: Some("1".into()), ..SetDraft::default() };
        self.ask(Draft { kv_set: vec![set], ..Draft::default() })
    }

    fn has(&self, cell: &Cell) -> bool {
        self.0.get(cell).is_some_and(Option::is_some)
    }

    fn stage(&mut self, driver: u64) -> Cell {
        let staged = value("new").staged(1);
        let row = write_value(Header { revision: 7, expires_ms: 0 }, b"2");
        assert!(self.step(driver, Action::Stage(vec![(staged.clone(), row)])));
        staged
    }
}

fn open() -> Action {
    Action::Open { revision: 7, mark_ms: 5, is_deleted: false }
}

#[test]
fn the_steps_have_an_order() {
    let mut store = Store::default();
    store.set("old");
    let staged = store.stage(1);
    let before = [
        Action::Clear(vec![value("old")]),
        Action::Cleared,
        Action::Place(vec![staged.clone()]),
        open(),
        Action::Reopen,
    ];
    for action in before {
        assert!(!store.step(1, action.clone()), "{action:?} of an open account");
    }
    assert!(store.step(1, Action::Close(1)));
    assert!(!store.step(1, Action::Place(vec![staged.clone()])) && !store.step(1, open()), "not cleared yet");
    assert!(!store.step(1, Action::Discard(vec![staged.clone()])), "it is needed");
    assert!(store.step(1, Action::Clear(vec![value("old")])) && store.step(1, Action::Cleared));
    assert!(!store.step(1, Action::Reopen) && !store.step(1, Action::Clear(vec![value("new")])));
    for _ in 0..2 {
        assert!(store.step(1, Action::Place(vec![staged.clone()])), "the second time it is there already");
    }
    assert!(store.step(1, open()));
    assert!(store.has(&value("new")) && !store.has(&value("old")) && !store.has(&staged));
    let meta = Cell::meta(&account());
    let meta = read_meta(&meta, store.0[&meta].as_ref()).unwrap();
    assert_eq!((meta.revision, meta.mark_ms, meta.replacement), (7 + REVISIONS_SKIPPED, 5, None));
}

#[test]
fn a_closed_account_turns_requests_away() {
    let mut store = Store::default();
    let lock = Draft { lock_id: Some("l".into()), lock_dur_s: Some(60), ..Draft::default() };
    assert!(matches!(store.ask(lock.clone()), Verdict::Applied(_)));
    assert!(store.step(1, Action::Close(1)));
    let read = Draft { kv_get: vec!["k".into()], ..Draft::default() };
    for draft in [lock, read] {
        assert_eq!(store.ask(draft), Verdict::Rejected(Rejection::Replacing));
    }
    assert_eq!(store.set("k"), Verdict::Rejected(Rejection::Replacing));
    assert!(matches!(store.commit(Request::mark(account())), Verdict::Applied(_)));
    assert!(!store.step(2, Action::Close(2)), "it is closed for another import");
    // Of a client that hung up, say.
    let unlock = Draft { unlock_id: Some("l".into()), unlock: Some(1), ..Draft::default() };
    assert!(matches!(store.ask(unlock), Verdict::Applied(_)));
    assert!(store.step(1, Action::Reopen));
    assert!(matches!(store.set("k"), Verdict::Applied(_)));
}

#[test]
fn a_driver_that_was_replaced_does_nothing_more() {
    let mut store = Store::default();
    store.set("old");
    let staged = store.stage(1);
    // Another one takes over, finds the account open, and takes back what is staged.
    assert!(store.step(9, Action::Discard(Vec::new())));
    assert!(!store.step(1, Action::Close(1)) && !store.step(1, Action::Stage(Vec::new())));
    assert!(store.step(9, Action::Discard(vec![staged])));
    assert!(store.has(&value("old")));

    // Another one takes over what the first has opened just before.
    let mut store = Store::default();
    let staged = store.stage(1);
    let actions = [Action::Close(1), Action::Cleared, Action::Place(vec![staged]), open()];
    assert!(actions.into_iter().all(|action| store.step(1, action)));
    assert!(!store.step(9, Action::Close(1)), "it would be cleared once more");
    assert!(matches!(store.set("k"), Verdict::Applied(_)) && store.has(&value("new")));
}
