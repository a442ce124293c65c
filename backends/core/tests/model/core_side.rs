//! The core's side of the comparison: bodies become requests, verdicts and rows become JSON. What a
//! decision may read and write is checked here at every step.

use crate::plan::ACCOUNTS;
use bytes::Bytes;
use dragon_core::batch::{Entry, RowMap, decide_batch};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::decide::Turn;
use dragon_core::layout::{self, Corrupt, Kept};
use dragon_core::limits::Limits;
use dragon_core::request::{AtomicDraft, Draft, Request, SetDraft};
use dragon_core::verdict::{Rejection, Rows, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names that would show if accounts ran into each other.
fn account(number: usize) -> Account {
    Account::new(["a", "a-"][number]).unwrap()
}

/// What a store holds for the core.
#[derive(Default)]
pub struct Core {
    rows: BTreeMap<Cell, Bytes>,
}

/// Rows that note what is read.
struct Watched<'a> {
    rows: &'a BTreeMap<Cell, Bytes>,
    read: Vec<Cell>,
}

impl Rows for Watched<'_> {
    type Error = Corrupt;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Corrupt> {
        self.read.push(cell.clone());
        Ok(self.rows.get(cell).cloned())
    }
}

impl Core {
    /// Decides a batch, applies it, and returns its verdicts.
    pub fn decide(&mut self, entries: &[Entry], now_ms: u64) -> Vec<Value> {
        let mut watched = Watched { rows: &self.rows, read: Vec::new() };
        let decided = decide_batch(entries, &mut watched, now_ms).unwrap();
        for cell in watched.read {
            // An answer may be kept beside another id, which only the row tells.
            assert!(names(entries, &cell) || cell.kind() == Kind::Idempotency, "{cell:?} was read");
        }
        for cell in decided.writes.keys() {
            assert!(names(entries, cell), "{cell:?} was written");
        }
        self.apply(decided.writes);
        decided.verdicts.iter().map(verdict_json).collect()
    }

    /// Decides one request, and checks what it leaves behind.
    pub fn decide_one(&mut self, entry: &Entry, now_ms: u64) -> Vec<Value> {
        let before = self.rows.clone();
        let verdicts = self.decide(std::slice::from_ref(entry), now_ms);
        let meta = entry.request.meta();
        let [revision_before, revision_after] =
            [&before, &self.rows].map(|rows| layout::read_meta(meta, rows.get(meta)).unwrap().revision);
        let is_applied = verdicts[0]["Answer"].is_object();
        let writes = is_applied && !entry.request.is_read();
        assert_eq!(revision_after, revision_before + u64::from(writes), "the revision after {entry:?}");
        if !writes {
            let without_meta = |rows: &BTreeMap<Cell, Bytes>| {
                let mut rows = rows.clone();
                rows.remove(meta);
                rows
            };
            assert_eq!(without_meta(&before), without_meta(&self.rows), "left behind by {entry:?}");
        }
        verdicts
    }

    pub fn mark(&mut self, number: usize, now_ms: u64) {
        let request = Arc::new(Request::mark(account(number)));
        let verdicts = self.decide(&[Entry { request, turn: Turn::First }], now_ms);
        assert_eq!(verdicts, [json!({"Answer": {}, "Granted": null})]);
    }

    pub fn sweep(&mut self, now_ms: u64) {
        self.rows.retain(|cell, row| {
            layout::sweep_at_ms(cell, row).unwrap().is_none_or(|sweep_at_ms| sweep_at_ms > now_ms)
        });
    }

    fn apply(&mut self, writes: RowMap) {
        for (cell, row) in writes {
            match row {
                Some(row) => self.rows.insert(cell, row),
                None => self.rows.remove(&cell),
            };
        }
    }

    /// Everything, in the form of the model's.
    pub fn stored(&self) -> Value {
        let mut stored = json!({});
        for number in 0..ACCOUNTS {
            let meta = Cell::meta(&account(number));
            let Some(row) = self.rows.get(&meta) else { continue };
            let meta = layout::read_meta(&meta, Some(row)).unwrap();
            stored[number.to_string()] = json!({
                "revision": meta.revision, "mark_ms": meta.mark_ms,
                "Value": {}, "Counter": {}, "Lock": {}, "Idempotency": {},
            });
        }
        for (cell, row) in &self.rows {
            if cell.kind() == Kind::Meta {
                continue;
            }
            let number = (0..ACCOUNTS).find(|number| account(*number).as_str() == cell.account_name());
            let account = &mut stored[number.unwrap().to_string()];
            let mark_ms = account["mark_ms"].as_u64().unwrap();
            account[format!("{:?}", cell.kind())][cell.id()] = self.row_json(cell, row, mark_ms);
        }
        stored
    }

    fn row_json(&self, cell: &Cell, row: &Bytes, mark_ms: u64) -> Value {
        let header = layout::header(cell, row).unwrap();
        match cell.kind() {
            Kind::Meta | Kind::Staged => Value::Null,
            Kind::Value => json!([header.revision, header.expires_ms, parsed(&layout::value(row))]),
            Kind::Counter => {
                assert_eq!(header.expires_ms, 0);
                json!([header.revision, layout::read_counter(cell, Some(row)).unwrap()])
            }
            Kind::Lock => {
                let (_, lock) = layout::read_lock(cell, row).unwrap();
                let owner = std::str::from_utf8(&lock.owner).unwrap();
                json!([header.revision, header.expires_ms, lock.handle, lock.granted_ms, owner])
            }
            Kind::Idempotency => {
                let answer = if header.expires_ms > mark_ms { self.kept(cell, row) } else { Value::Null };
                json!([header.revision, header.expires_ms, answer])
            }
        }
    }

    fn kept(&self, cell: &Cell, row: &Bytes) -> Value {
        match layout::read_idempotency(cell, row).unwrap().1 {
            Kept::Nothing => Value::Null,
            Kept::Answer(answer) => parsed(&answer),
            Kept::Beside(id) => {
                let id = std::str::from_utf8(&id).unwrap();
                let account = Account::new(cell.account_name()).unwrap();
                let first = Cell::new(&account, Kind::Idempotency, id);
                self.kept(&first, &self.rows[&first])
            }
        }
    }
}

fn names(entries: &[Entry], cell: &Cell) -> bool {
    entries.iter().any(|entry| entry.request.footprint().any(|named| named == cell))
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn verdict_json(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Applied(applied) => json!({
            "Answer": parsed(&applied.answer),
            "Granted": applied.granted.map(|granted| [granted.handle, granted.till_ms]),
        }),
        Verdict::Blocked(blocked) => json!({
            "Blocked": blocked.cell.id(), "Stamp": blocked.stamp, "TillMs": blocked.till_ms,
            "Owner": std::str::from_utf8(&blocked.owner).unwrap(),
        }),
        Verdict::Rejected(rejection) => match rejection {
            Rejection::DuplicateRequest { id, response, same_request } => json!({
                "Code": "duplicate_request", "ID": id,
                "Response": response.as_deref().map(parsed), "SameRequest": same_request,
            }),
            Rejection::NotLocked { id } => json!({"Code": "not_locked", "ID": id}),
            Rejection::VersionMismatch { key, version } => {
                json!({"Code": "precondition_failed", "Key": key, "Version": version})
            }
            Rejection::ValueMismatch { key, value } => {
                json!({"Code": "precondition_failed", "Key": key, "Value": value})
            }
            Rejection::CounterOverflow { key } => json!({"Code": "counter_overflow", "Key": key}),
            Rejection::LockTimeout { .. } | Rejection::AnswerTooLarge { .. } | Rejection::Replacing => {
                panic!("{rejection:?} can't come up here")
            }
        },
    }
}

/// A request from its body, as the contract writes it.
pub fn entry(number: usize, body: &Value, turn: Turn) -> Entry {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |field: &str| body[field].as_array().cloned().unwrap_or_default();
    let atomic = |entry: &Value| AtomicDraft {
        key: text(&entry["Key"]).unwrap(),
        add: entry["Add"].as_i64(),
        set: entry["Set"].as_i64(),
        delete: entry["Delete"] == true,
        if_eq: entry["IfEq"].as_i64(),
    };
    let set = |entry: &Value| SetDraft {
        key: text(&entry["Key"]).unwrap(),
        value: entry.get("Value").map(|value| value.to_string().into()),
        delete: entry["Delete"] == true,
        ttl_s: entry["TTL"].as_u64(),
        if_version: entry["IfVersion"].as_u64(),
    };
    let draft = Draft {
        idempotency_ids: list("IdempotencyIDs").iter().filter_map(text).collect(),
        idempotency_ttl_s: body["IdempotencyTTL"].as_u64(),
        unlock_id: text(&body["UnlockID"]),
        unlock: body["Unlock"].as_u64(),
        lock_id: text(&body["LockID"]),
        lock_dur_s: body["LockDur"].as_u64(),
        lock_wait_s: body["LockWait"].as_u64(),
        lock_owner: text(&body["LockOwner"]),
        atomic: list("Atomic").iter().map(atomic).collect(),
        kv_set: list("KVSet").iter().map(set).collect(),
        kv_get: list("KVGet").iter().filter_map(|get| text(&get["Key"])).collect(),
    };
    let request = Request::new(account(number), draft, &Limits::default()).unwrap();
    Entry { request: Arc::new(request), turn }
}
