//! The decision: what becomes of one request, given the rows it names and the time. The order is the
//! contract's: idempotency ids, unlock, lock, every condition against the state before the request,
//! `KVGet`, then `Atomic` and `KVSet` in their order.

use crate::UnixMs;
use crate::answer::{Answer, push_counter, push_value};
use crate::cell::{Account, Cell, Kind};
use crate::layout::{self, Header, Kept, LockRow, Meta};
use crate::limits::KEPT_ANSWER_BYTES_MAX;
use crate::replace::decide_step;
use crate::request::{CounterChange, Held, Idempotency, LockStep, Request, ValueChange, Wanted};
use crate::verdict::{Applied, Blocked, Granted, Rejection, Rows, Verdict};
use bytes::Bytes;

/// Whether a request may take its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is first in the queue: it takes the lock if it is free.
    First,
    /// Others came before it: it is refused for its idempotency ids and its unlock, but gets no lock.
    Queued,
}

/// Rows to write (`None` = delete), each cell once.
pub type Writes = Vec<(Cell, Option<Bytes>)>;

/// A value that was read: its version and its JSON, if it is there.
type ReadValue = Option<(u64, Bytes)>;

/// A verdict, and what it writes. A refused request writes nothing that a client could see, but may
/// have to fix the account's time mark.
#[derive(Debug)]
pub struct Decision {
    /// What becomes of the request.
    pub verdict: Verdict,
    /// What to write.
    pub writes: Writes,
}

/// Decides one request.
///
/// # Errors
/// Those of reading the rows, and rows that can't be read.
pub fn decide<R: Rows>(
    request: &Request,
    turn: Turn,
    rows: &mut R,
    now_ms: UnixMs,
) -> Result<Decision, R::Error> {
    let meta_row = rows.row(request.meta())?;
    let meta = layout::read_meta(request.meta(), meta_row.as_ref())?;
    if let Some(step) = request.as_step() {
        return decide_step(step, (request.meta(), meta), rows);
    }
    // A lock whose client has hung up is given back; until the former content goes, it may stay.
    let is_passed = request.is_mark()
        || request.only_releases() && meta.replacement.is_some_and(|replacement| !replacement.is_cleared);
    if meta.replacement.is_some() && !is_passed {
        return Ok(Decision { verdict: Verdict::Rejected(Rejection::Replacing), writes: Vec::new() });
    }
    let mut decider = Decider {
        request,
        rows,
        now_ms: now_ms.max(meta.mark_ms),
        revision: meta.revision + 1,
        shown_expired_ms: 0,
        writes: Vec::new(),
    };
    let verdict = match decider.run(turn) {
        Ok(applied) => Verdict::Applied(applied),
        Err(Stop::Rejected(rejection)) => Verdict::Rejected(rejection),
        Err(Stop::Blocked(blocked)) => Verdict::Blocked(blocked),
        Err(Stop::Failed(error)) => return Err(error),
    };
    Ok(decider.finish(verdict, meta))
}

/// Why a decision ended early.
enum Stop<E> {
    Rejected(Rejection),
    Blocked(Blocked),
    Failed(E),
}

impl<E> From<E> for Stop<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

struct Decider<'a, R: Rows> {
    request: &'a Request,
    rows: &'a mut R,
    /// The account's time: never before its mark.
    now_ms: UnixMs,
    /// The revision that this request gets if it is applied and carries a write.
    revision: u64,
    /// The latest expiry that was found to have passed.
    shown_expired_ms: UnixMs,
    writes: Writes,
}

impl<R: Rows> Decider<'_, R> {
    fn run(&mut self, turn: Turn) -> Result<Applied, Stop<R::Error>> {
        let request = self.request;
        if let Some(idempotency) = request.idempotency() {
            self.refuse_duplicates(idempotency)?;
        }
        let mut answer = Answer::default();
        let granted = self.lock_step(request.lock(), turn, &mut answer)?;
        self.check_versions()?;
        let counters_before = self.check_counters()?;
        let values = self.read_values()?;
        let counters = self.change_counters(counters_before)?;
        self.change_values()?;
        let answer = self.write_answer(answer, &counters, values)?;
        if let Some(idempotency) = request.idempotency() {
            self.remember(idempotency, &answer);
        }
        Ok(Applied { answer, granted })
    }

    /// The account's row is written when the request carried a write and was applied, or when an
    /// expiry was shown that the mark does not cover yet.
    fn finish(mut self, verdict: Verdict, meta: Meta) -> Decision {
        let applied = matches!(verdict, Verdict::Applied(_));
        let raise = applied && !self.request.is_read();
        let mark = self.shown_expired_ms > meta.mark_ms || self.request.is_mark();
        if !applied {
            self.writes.clear();
        }
        if raise || mark {
            let revision = if raise { self.revision } else { meta.revision };
            let mark_ms = if mark { self.now_ms } else { meta.mark_ms };
            let row = layout::write_meta(Meta { revision, mark_ms, ..meta });
            self.writes.push((self.request.meta().clone(), Some(row)));
        }
        Decision { verdict, writes: self.writes }
    }

    fn account(&self) -> &Account {
        self.request.account()
    }

    /// The row of a cell and its header, unless it is absent or expired.
    fn live_row(&mut self, cell: &Cell) -> Result<Option<(Header, Bytes)>, Stop<R::Error>> {
        let Some(row) = self.rows.row(cell)? else { return Ok(None) };
        let header = layout::header(cell, &row).map_err(R::Error::from)?;
        if header.is_live(self.now_ms) {
            return Ok(Some((header, row)));
        }
        self.shown_expired_ms = self.shown_expired_ms.max(header.expires_ms);
        Ok(None)
    }

    fn refuse_duplicates(&mut self, idempotency: &Idempotency) -> Result<(), Stop<R::Error>> {
        for cell in &idempotency.cells {
            let Some((header, row)) = self.live_row(cell)? else { continue };
            let (fingerprint, kept) = layout::read_idempotency(cell, &row).map_err(R::Error::from)?;
            return Err(Stop::Rejected(Rejection::DuplicateRequest {
                id: cell.id().to_owned(),
                response: self.kept_answer(kept, header.revision)?,
                same_request: fingerprint == idempotency.fingerprint,
            }));
        }
        Ok(())
    }

    /// The answer of the request that had this revision. Where it is kept beside another id, that id may
    /// have been swept and used by another request meanwhile, whose revision is another.
    fn kept_answer(&mut self, kept: Kept, revision: u64) -> Result<Option<Bytes>, Stop<R::Error>> {
        let first = match kept {
            Kept::Nothing => return Ok(None),
            Kept::Answer(answer) => return Ok(Some(answer)),
            Kept::Beside(id) => id,
        };
        let id = std::str::from_utf8(&first).unwrap_or_default();
        let cell = Cell::new(self.account(), Kind::Idempotency, id);
        let Some(row) = self.rows.row(&cell)? else { return Ok(None) };
        if layout::header(&cell, &row).map_err(R::Error::from)?.revision != revision {
            return Ok(None);
        }
        match layout::read_idempotency(&cell, &row).map_err(R::Error::from)?.1 {
            Kept::Answer(answer) => Ok(Some(answer)),
            Kept::Nothing | Kept::Beside(_) => Ok(None),
        }
    }

    fn remember(&mut self, idempotency: &Idempotency, answer: &Bytes) {
        let header = Header { revision: self.revision, expires_ms: self.now_ms + idempotency.ttl_s * 1_000 };
        let mut kept =
            if answer.len() > KEPT_ANSWER_BYTES_MAX { Kept::Nothing } else { Kept::Answer(answer.clone()) };
        for cell in &idempotency.cells {
            let row = layout::write_idempotency(header, &idempotency.fingerprint, &kept);
            self.writes.push((cell.clone(), Some(row)));
            if matches!(kept, Kept::Answer(_)) {
                kept = Kept::Beside(Bytes::copy_from_slice(cell.id().as_bytes()));
            }
        }
    }

    fn lock_step(
        &mut self,
        step: &LockStep,
        turn: Turn,
        answer: &mut Answer,
    ) -> Result<Option<Granted>, Stop<R::Error>> {
        match step {
            LockStep::None => Ok(None),
            LockStep::Release(held) => {
                self.held(held)?;
                self.writes.push((held.cell.clone(), None));
                Ok(None)
            }
            LockStep::Acquire(wanted) => self.acquire(wanted, turn, answer).map(Some),
            LockStep::Pass(held, wanted) => {
                self.held(held)?;
                let granted = self.acquire(wanted, turn, answer)?;
                self.writes.push((held.cell.clone(), None));
                Ok(Some(granted))
            }
            LockStep::Extend { held, dur_s, owner } => {
                let (header, mut lock) = self.held(held)?;
                let till_ms = dur_s.map_or(header.expires_ms, |dur_s| self.now_ms + dur_s * 1_000);
                answer.number("Lock", lock.handle);
                answer.number("Till", till_ms / 1_000);
                if let Some(owner) = owner {
                    lock.owner = owner.clone();
                }
                if dur_s.is_some() || owner.is_some() {
                    let header = Header { revision: self.revision, expires_ms: till_ms };
                    self.writes.push((held.cell.clone(), Some(layout::write_lock(header, &lock))));
                }
                Ok(None)
            }
        }
    }

    /// The lock's row, if the handle holds it now.
    fn held(&mut self, held: &Held) -> Result<(Header, LockRow), Stop<R::Error>> {
        if let Some((_, row)) = self.live_row(&held.cell)? {
            let (header, lock) = layout::read_lock(&held.cell, &row).map_err(R::Error::from)?;
            if lock.handle == held.handle {
                return Ok((header, lock));
            }
        }
        Err(Stop::Rejected(Rejection::NotLocked { id: held.cell.id().to_owned() }))
    }

    fn acquire(
        &mut self,
        wanted: &Wanted,
        turn: Turn,
        answer: &mut Answer,
    ) -> Result<Granted, Stop<R::Error>> {
        let before = match self.rows.row(&wanted.cell)? {
            None => None,
            Some(row) => Some(layout::read_lock(&wanted.cell, &row).map_err(R::Error::from)?),
        };
        let is_held = before.as_ref().is_some_and(|(header, _)| header.is_live(self.now_ms));
        if is_held || turn == Turn::Queued {
            let (header, lock) = before.unwrap_or_else(|| {
                let header = Header { revision: 0, expires_ms: self.now_ms };
                (header, LockRow { handle: 0, granted_ms: None, owner: Bytes::new() })
            });
            if !is_held && header.revision > 0 {
                self.shown_expired_ms = self.shown_expired_ms.max(header.expires_ms);
            }
            return Err(Stop::Blocked(Blocked {
                cell: wanted.cell.clone(),
                stamp: header.revision,
                till_ms: header.expires_ms,
                handle: if is_held { lock.handle } else { 0 },
                owner: if is_held { lock.owner } else { Bytes::new() },
            }));
        }
        let granted = Granted { handle: self.revision, till_ms: self.now_ms + wanted.dur_s * 1_000 };
        let header = Header { revision: self.revision, expires_ms: granted.till_ms };
        let (handle, granted_ms) = (granted.handle, Some(self.now_ms));
        let lock = LockRow { handle, granted_ms, owner: wanted.owner.clone() };
        self.writes.push((wanted.cell.clone(), Some(layout::write_lock(header, &lock))));
        answer.number("Lock", granted.handle);
        answer.number("Till", granted.till_ms / 1_000);
        if let Some((header, _)) = before {
            self.shown_expired_ms = self.shown_expired_ms.max(header.expires_ms);
            answer.flag("Expired");
        }
        Ok(granted)
    }

    fn check_versions(&mut self) -> Result<(), Stop<R::Error>> {
        for set in self.request.sets() {
            let Some(expected) = set.if_version else { continue };
            let version = self.live_row(&set.cell)?.map_or(0, |(header, _)| header.revision);
            if version != expected {
                let key = set.cell.id().to_owned();
                return Err(Stop::Rejected(Rejection::VersionMismatch { key, version }));
            }
        }
        Ok(())
    }

    /// The counters' values before this request, one per entry of `Atomic`.
    fn check_counters(&mut self) -> Result<Vec<i64>, Stop<R::Error>> {
        let mut before = Vec::with_capacity(self.request.counters().len());
        for counter in self.request.counters() {
            let row = self.rows.row(&counter.cell)?;
            let value = layout::read_counter(&counter.cell, row.as_ref()).map_err(R::Error::from)?;
            if counter.if_eq.is_some_and(|expected| expected != value) {
                let key = counter.cell.id().to_owned();
                return Err(Stop::Rejected(Rejection::ValueMismatch { key, value }));
            }
            before.push(value);
        }
        Ok(before)
    }

    /// The values before this request. Stops once the answer is sure to be too large, so that a
    /// thousand large values are not all loaded for nothing.
    fn read_values(&mut self) -> Result<Vec<ReadValue>, Stop<R::Error>> {
        let bytes_max = self.request.answer_bytes_max();
        let mut bytes = 0;
        let mut values = Vec::with_capacity(self.request.gets().len());
        for cell in self.request.gets() {
            let value = self.live_row(cell)?.map(|(header, row)| (header.revision, layout::value(&row)));
            bytes += value.as_ref().map_or(0, |(_, json)| json.len());
            if bytes > bytes_max {
                return Err(Stop::Rejected(Rejection::AnswerTooLarge { bytes_max }));
            }
            values.push(value);
        }
        Ok(values)
    }

    /// Applies `Atomic` in order; a later entry of the same counter sees the earlier one. Returns
    /// the value after each.
    fn change_counters(&mut self, before: Vec<i64>) -> Result<Vec<i64>, Stop<R::Error>> {
        let mut after: Vec<i64> = Vec::with_capacity(before.len());
        let mut latest = Latest::default();
        for (counter, before) in self.request.counters().iter().zip(before) {
            let earlier = latest.get(&counter.cell).copied();
            let value = earlier.map_or(before, |earlier| earlier.value);
            let value = match counter.change {
                CounterChange::Read => value,
                CounterChange::Set(value) => value,
                CounterChange::Delete => 0,
                CounterChange::Add(add) => value.checked_add(add).ok_or_else(|| {
                    Stop::Rejected(Rejection::CounterOverflow { key: counter.cell.id().to_owned() })
                })?,
            };
            after.push(value);
            let header = Header { revision: self.revision, expires_ms: 0 };
            let row = match counter.change {
                CounterChange::Read => continue,
                CounterChange::Delete => None,
                CounterChange::Add(_) | CounterChange::Set(_) => Some(layout::write_counter(header, value)),
            };
            let written_at = match earlier {
                Some(earlier) => {
                    self.writes[earlier.written_at].1 = row;
                    earlier.written_at
                }
                None => {
                    self.writes.push((counter.cell.clone(), row));
                    self.writes.len() - 1
                }
            };
            latest.insert(counter.cell.clone(), Written { value, written_at });
        }
        Ok(after)
    }

    fn change_values(&mut self) -> Result<(), Stop<R::Error>> {
        for set in self.request.sets() {
            let row = match &set.change {
                ValueChange::Delete => None,
                ValueChange::Put { json, ttl_s } => {
                    let expires_ms = ttl_s.map_or(0, |ttl_s| self.now_ms + ttl_s * 1_000);
                    Some(layout::write_value(Header { revision: self.revision, expires_ms }, json))
                }
            };
            self.writes.push((set.cell.clone(), row));
        }
        Ok(())
    }

    fn write_answer(
        &self,
        mut answer: Answer,
        counters: &[i64],
        values: Vec<ReadValue>,
    ) -> Result<Bytes, Stop<R::Error>> {
        let request = self.request;
        let bytes_max = request.answer_bytes_max();
        if !counters.is_empty() {
            answer.array("Atomic", request.counters().iter().zip(counters), |json, (counter, value)| {
                push_counter(json, &counter.cell, *value);
                true
            });
        }
        if !values.is_empty() {
            answer.array("KV", request.gets().iter().zip(values), |json, (cell, value)| {
                match value {
                    None => push_value(json, cell, 0, None),
                    Some((version, value)) => push_value(json, cell, version, Some(&value)),
                }
                json.len() <= bytes_max
            });
        }
        if self.reports_version() {
            answer.number("Version", self.revision);
        }
        if answer.len() > bytes_max {
            return Err(Stop::Rejected(Rejection::AnswerTooLarge { bytes_max }));
        }
        Ok(answer.finish())
    }

    /// A request that only unlocks or only remembers ids raises the revision, but has no use for it.
    fn reports_version(&self) -> bool {
        let locks = !matches!(self.request.lock(), LockStep::None | LockStep::Release(_));
        let counts = self.request.counters().iter().any(|counter| counter.change != CounterChange::Read);
        locks || counts || !self.request.sets().is_empty()
    }
}

/// The counters that earlier entries of the same request have written.
type Latest = std::collections::BTreeMap<Cell, Written>;

#[derive(Clone, Copy)]
struct Written {
    value: i64,
    /// Where in the request's writes.
    written_at: usize,
}
