//! Sequences of requests through the rules alone, made from bytes: a batch decides as its requests do one by one, what is refused
//! changes nothing, revisions and handles only rise, and every row that is written can be read.

use crate::input::Input;
use bytes::Bytes;
use dragon_core::batch::{Decided, Entry, decide_batch};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout::{self, Corrupt, Meta};
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Rows, Verdict};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests of one input: more take longer and find no more.
const REQUESTS_MAX: usize = 64;
const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug, Default, PartialEq)]
struct Store(BTreeMap<Cell, Bytes>);

impl Rows for Store {
    type Error = Corrupt;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Corrupt> {
        Ok(self.0.get(cell).cloned())
    }
}

impl Store {
    fn decide(&mut self, batch: &[Entry], now_ms: u64) -> Decided {
        let decided = decide_batch(batch, self, now_ms).expect("every row can be read");
        for (cell, row) in &decided.writes {
            match row {
                Some(row) => self.0.insert(cell.clone(), row.clone()),
                None => self.0.remove(cell),
            };
        }
        decided
    }

    fn meta(&self) -> Meta {
        let cell = Cell::meta(&account());
        layout::read_meta(&cell, self.0.get(&cell)).expect("it can be read")
    }
}

fn account() -> Account {
    Account::new("a").expect("a name")
}

/// Takes the input for a sequence of batches.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut batched, mut single) = (Store::default(), Store::default());
    let (mut now_ms, mut asked) = (1_750_000_000_345, 0);
    while !input.is_over() && asked < REQUESTS_MAX {
        // Clocks may go back; what was shown as expired stays so.
        now_ms = now_ms + u64::from(input.byte()) * 25 - 200;
        let batch: Vec<Entry> = (0..=input.byte() % 4).filter_map(|_| entry(&mut input, &single)).collect();
        asked += 1 + batch.len();
        let decided = batched.decide(&batch, now_ms);
        let one_by_one: Vec<Verdict> =
            batch.iter().map(|entry| decide_alone(&mut single, entry, now_ms)).collect();
        assert_eq!(decided.verdicts, one_by_one, "{batch:?}");
        assert_eq!(batched, single, "{batch:?}");
    }
}

fn decide_alone(store: &mut Store, entry: &Entry, now_ms: u64) -> Verdict {
    let (before, rows_before) = (store.meta(), store.clone());
    let Decided { verdicts, writes } = store.decide(std::slice::from_ref(entry), now_ms);
    let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
    let after = store.meta();
    let request = &entry.request;
    assert!(writes.keys().all(|cell| request.footprint().any(|named| named == cell)), "{request:?}");
    assert!(after.mark_ms >= before.mark_ms && after.mark_ms <= now_ms.max(before.mark_ms));
    let Verdict::Applied(applied) = verdict else {
        assert_eq!(after.revision, before.revision);
        let visible = |store: &Store| {
            Store(
                store
                    .0
                    .iter()
                    .filter(|(cell, _)| cell.kind() != Kind::Meta)
                    .map(|(cell, row)| (cell.clone(), row.clone()))
                    .collect(),
            )
        };
        assert_eq!(visible(store), visible(&rows_before), "{verdict:?}");
        return verdict.clone();
    };
    assert_eq!(after.revision, before.revision + u64::from(!request.is_read()));
    for (cell, row) in writes.iter().filter_map(|(cell, row)| Some((cell, row.as_ref()?))) {
        let header = layout::header(cell, row).expect("it can be read");
        assert_eq!(header.revision, after.revision, "{cell:?}");
    }
    if let Some(granted) = applied.granted {
        assert_eq!(granted.handle, after.revision);
        let lock = &request.wanted().expect("it was granted one").cell;
        let held = rows_before.0.get(lock).map(|row| layout::header(lock, row).expect("it can be read"));
        assert!(held.is_none_or(|held| !held.is_live(now_ms.max(before.mark_ms))), "nobody held it");
    }
    let is_json = serde_json::from_slice::<IgnoredAny>(&applied.answer).is_ok();
    assert!(is_json, "{}", applied.answer.escape_ascii());
    verdict.clone()
}

fn entry(input: &mut Input<'_>, store: &Store) -> Option<Entry> {
    let limits = Limits { answer_bytes: input.of([60, 200, 4_096]), ..Limits::default() };
    let draft = draft(input, store);
    let turn = if input.one_in(8) { Turn::Queued } else { Turn::First };
    let request = Request::new(account(), draft, &limits).ok()?;
    Some(Entry { request: Arc::new(request), turn })
}

fn draft(input: &mut Input<'_>, store: &Store) -> Draft {
    let parts = input.byte();
    let mut draft = Draft::default();
    let revision = store.meta().revision;
    if parts & 1 > 0 {
        let (first, second) = (input.of(KEYS), input.of(KEYS));
        draft.idempotency_ids = vec![first.into()];
        if first != second {
            draft.idempotency_ids.push(second.into());
        }
        draft.idempotency_ttl_s = Some(1 + u64::from(input.byte() % 8));
    }
    if parts & 2 > 0 {
        draft.unlock_id = Some(input.of(KEYS).into());
        draft.unlock = Some(revision.saturating_sub((input.byte() % 8).into()));
    }
    if parts & 4 > 0 {
        draft.lock_id = Some(input.of(KEYS).into());
        draft.lock_dur_s = Some((input.byte() % 8).into());
        draft.lock_owner = input.of([None, Some("o".into())].each_ref()).clone();
    }
    if parts & 8 > 0 {
        draft.atomic = (0..=input.byte() % 3).map(|_| counter(input)).collect();
    }
    if parts & 16 > 0 {
        draft.kv_set = (0..=input.byte() % 3).map(|_| set(input, revision)).collect();
    }
    if parts & 32 > 0 {
        draft.kv_get = (0..=input.byte() % 3).map(|_| input.of(KEYS).into()).collect();
    }
    draft
}

fn counter(input: &mut Input<'_>) -> AtomicDraft {
    let number = input.of([1, -1, 7, i64::MAX, i64::MIN]);
    let draft = AtomicDraft { key: input.of(KEYS).into(), ..AtomicDraft::default() };
    let draft = match input.byte() % 4 {
        0 => AtomicDraft { add: Some(number), ..draft },
        1 => AtomicDraft { set: Some(number), ..draft },
        2 => AtomicDraft { delete: true, ..draft },
        _ => draft,
    };
    AtomicDraft { if_eq: input.of([None, None, Some(0), Some(number)]), ..draft }
}

fn set(input: &mut Input<'_>, revision: u64) -> SetDraft {
    let is_deleted = input.one_in(3);
    let json = input.of(["1", "null", "\"a longer value, to make answers too large\""]);
    SetDraft {
        key: input.of(KEYS).into(),
        value: (!is_deleted).then(|| json.into()),
        delete: is_deleted,
        ttl_s: input.of([None, Some(1), Some(5)]).filter(|_| !is_deleted),
        if_version: input.of([None, None, Some(0), Some(revision)]),
    }
}
