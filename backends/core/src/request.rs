//! A [`Request`] that cannot be invalid, made from a [`Draft`] that can. All limits are checked
//! here, once. What a request may touch is known up front: every operation names its cell.

use crate::cell::{Account, Cell, Kind};
use crate::fingerprint;
use crate::json;
use crate::layout::{FINGERPRINT_BYTES, HEADER_BYTES};
use crate::limits::{
    IDEMPOTENCY_TTL_S_DEFAULT, IDEMPOTENCY_TTL_S_MAX, KEPT_ANSWER_BYTES_MAX, LOCK_DUR_S_MAX, LOCK_WAIT_S_MAX,
    Limits, OWNER_BYTES_MAX, REVISION_MAX, VALUE_TTL_S_MAX,
};
use crate::replace::Step;
use bytes::Bytes;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::hash::DefaultHasher;

/// What a client asked, as far as JSON's types reach. The field names are those of the contract.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `IdempotencyIDs`
    pub idempotency_ids: Vec<String>,
    /// `IdempotencyTTL`, seconds
    pub idempotency_ttl_s: Option<u64>,
    /// `UnlockID`
    pub unlock_id: Option<String>,
    /// `Unlock`: the handle
    pub unlock: Option<u64>,
    /// `LockID`
    pub lock_id: Option<String>,
    /// `LockDur`, seconds
    pub lock_dur_s: Option<u64>,
    /// `LockWait`, seconds
    pub lock_wait_s: Option<u64>,
    /// `LockOwner`
    pub lock_owner: Option<String>,
    /// `Atomic`
    pub atomic: Vec<AtomicDraft>,
    /// `KVSet`
    pub kv_set: Vec<SetDraft>,
    /// `KVGet`, its keys
    pub kv_get: Vec<String>,
}

/// One entry of `Atomic`.
#[derive(Clone, Debug, Default)]
pub struct AtomicDraft {
    /// `Key`
    pub key: String,
    /// `Add`
    pub add: Option<i64>,
    /// `Set`
    pub set: Option<i64>,
    /// `Delete`
    pub delete: bool,
    /// `IfEq`
    pub if_eq: Option<i64>,
}

/// One entry of `KVSet`.
#[derive(Clone, Debug, Default)]
pub struct SetDraft {
    /// `Key`
    pub key: String,
    /// `Value`: well-formed JSON
    pub value: Option<Bytes>,
    /// `Delete`
    pub delete: bool,
    /// `TTL`, seconds
    pub ttl_s: Option<u64>,
    /// `IfVersion`
    pub if_version: Option<u64>,
}

/// Why a draft is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A rule or a limit was broken.
    #[error("{field}: {problem}")]
    Field {
        /// The field, as a path such as `KVSet[3].TTL`.
        field: String,
        /// What to change.
        problem: String,
    },
    /// A value is larger than allowed.
    #[error("{field} is larger than {bytes_max} bytes: store less in one value")]
    TooLarge {
        /// The field, as a path such as `KVSet[3].Value`.
        field: String,
        /// The limit.
        bytes_max: usize,
    },
}

fn invalid<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Field { field: field.into(), problem: problem.into() })
}

/// Idempotency ids: refuse if any was used, remember them if applied.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The ids' cells: at least one, none twice.
    pub cells: Vec<Cell>,
    /// How long they are remembered, in seconds.
    pub ttl_s: u64,
    /// What tells this request from another one with the same id.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
}

/// A lock that the client says it holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// The lock.
    pub cell: Cell,
    /// The fencing token it was granted with.
    pub handle: u64,
}

/// A lock that the client wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The lock.
    pub cell: Cell,
    /// The lease, in seconds: at least 1.
    pub dur_s: u64,
    /// How long to wait for it, in seconds.
    pub wait_s: u64,
    /// Who is asking; empty = not said.
    pub owner: Bytes,
}

/// What a request does with locks.
#[derive(Clone, Debug)]
pub enum LockStep {
    /// Nothing.
    None,
    /// Gives one back.
    Release(Held),
    /// Takes one, waiting if need be.
    Acquire(Wanted),
    /// Takes one and gives another back in the same instant.
    Pass(Held, Wanted),
    /// Checks that it is held, and lengthens the lease when `dur_s` says so.
    Extend {
        /// The lock.
        held: Held,
        /// The new lease from now, in seconds; `None` only checks.
        dur_s: Option<u64>,
        /// The new owner's name, when one was given.
        owner: Option<Bytes>,
    },
}

/// What to do with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterChange {
    /// Read it.
    Read,
    /// Add to it.
    Add(i64),
    /// Replace it.
    Set(i64),
    /// Remove it.
    Delete,
}

/// One entry of `Atomic`.
#[derive(Clone, Debug)]
pub struct CounterOp {
    /// The counter.
    pub cell: Cell,
    /// What to do with it.
    pub change: CounterChange,
    /// The value it must have had before this request.
    pub if_eq: Option<i64>,
}

/// What to do with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueChange {
    /// Store it.
    Put {
        /// JSON, byte for byte.
        json: Bytes,
        /// Seconds until it expires; `None` = stays.
        ttl_s: Option<u64>,
    },
    /// Remove it.
    Delete,
}

/// One entry of `KVSet`.
#[derive(Clone, Debug)]
pub struct ValueOp {
    /// The key.
    pub cell: Cell,
    /// What to do with it.
    pub change: ValueChange,
    /// The version it must have had before this request; 0 = must not exist.
    pub if_version: Option<u64>,
}

/// One atomic request, valid by construction.
#[derive(Clone, Debug)]
pub struct Request {
    account: Account,
    meta: Cell,
    idempotency: Option<Idempotency>,
    lock: LockStep,
    counters: Vec<CounterOp>,
    sets: Vec<ValueOp>,
    gets: Vec<Cell>,
    answer_bytes_max: usize,
    step: Option<Box<Step>>,
}

impl Request {
    /// Checks every rule and limit.
    ///
    /// # Errors
    /// [`Invalid`] names the field and says what to change.
    pub fn new(account: Account, draft: Draft, limits: &Limits) -> Result<Self, Invalid> {
        let operations = draft.kv_set.len() + draft.kv_get.len() + draft.atomic.len();
        if operations > limits.operations {
            let problem =
                format!("{operations} operations in one request; at most {} are allowed", limits.operations);
            return invalid("KVSet, KVGet and Atomic", problem);
        }
        let check = Check { account: &account, limits };
        let fingerprint = fingerprint::of(&draft);
        let request = Self {
            meta: Cell::meta(&account),
            idempotency: check.idempotency(&draft, fingerprint)?,
            lock: check.lock_step(&draft)?,
            counters: check.counters(draft.atomic)?,
            sets: check.sets(draft.kv_set)?,
            gets: check.gets(draft.kv_get)?,
            account,
            answer_bytes_max: limits.answer_bytes,
            step: None,
        };
        let asks_nothing = operations == 0 && request.idempotency.is_none();
        if asks_nothing && matches!(request.lock, LockStep::None) {
            return invalid(
                "the request",
                "nothing is asked: give at least one of IdempotencyIDs, UnlockID, LockID, Atomic, KVSet, KVGet",
            );
        }
        Ok(request)
    }

    /// The server's own write that fixes the account's time mark at now, so that what a read has
    /// shown as expired stays so. It raises no revision.
    #[must_use]
    pub fn mark(account: Account) -> Self {
        Self {
            meta: Cell::meta(&account),
            idempotency: None,
            lock: LockStep::None,
            counters: Vec::new(),
            sets: Vec::new(),
            gets: Vec::new(),
            account,
            answer_bytes_max: usize::MAX,
            step: None,
        }
    }

    /// The server's own step in replacing the account's content. It raises no revision but in the last one.
    #[must_use]
    pub fn step(account: Account, step: Step) -> Self {
        Self { step: Some(Box::new(step)), ..Self::mark(account) }
    }

    /// The server's own release of a lock whose new holder was found gone.
    #[must_use]
    pub fn release(account: Account, held: Held) -> Self {
        Self { lock: LockStep::Release(held), ..Self::mark(account) }
    }

    /// The step that it is, if it is one.
    #[must_use]
    pub fn as_step(&self) -> Option<&Step> {
        self.step.as_deref()
    }

    /// The account that it is about.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account's own row.
    #[must_use]
    pub fn meta(&self) -> &Cell {
        &self.meta
    }

    /// Idempotency ids, if it gave any.
    #[must_use]
    pub fn idempotency(&self) -> Option<&Idempotency> {
        self.idempotency.as_ref()
    }

    /// What it does with locks.
    #[must_use]
    pub fn lock(&self) -> &LockStep {
        &self.lock
    }

    /// The lock it has to wait for, if it takes one.
    #[must_use]
    pub fn wanted(&self) -> Option<&Wanted> {
        match &self.lock {
            LockStep::Acquire(wanted) | LockStep::Pass(_, wanted) => Some(wanted),
            LockStep::None | LockStep::Release(_) | LockStep::Extend { .. } => None,
        }
    }

    /// The lock it gives back, if it does.
    #[must_use]
    pub fn released(&self) -> Option<&Held> {
        match &self.lock {
            LockStep::Release(held) | LockStep::Pass(held, _) => Some(held),
            LockStep::None | LockStep::Acquire(_) | LockStep::Extend { .. } => None,
        }
    }

    /// `Atomic`, in order.
    #[must_use]
    pub fn counters(&self) -> &[CounterOp] {
        &self.counters
    }

    /// `KVSet`, in order; no key twice.
    #[must_use]
    pub fn sets(&self) -> &[ValueOp] {
        &self.sets
    }

    /// `KVGet`, in order.
    #[must_use]
    pub fn gets(&self) -> &[Cell] {
        &self.gets
    }

    /// Largest answer, in bytes.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }

    /// Whether it carries no write, so that applying it raises no revision.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.idempotency.is_none()
            && self.step.is_none()
            && matches!(self.lock, LockStep::None)
            && self.sets.is_empty()
            && self.counters.iter().all(|counter| counter.change == CounterChange::Read)
    }

    /// Whether it is [`Request::mark`].
    #[must_use]
    pub fn is_mark(&self) -> bool {
        self.is_read() && self.gets.is_empty() && self.counters.is_empty()
    }

    /// Whether it gives a lock back and does nothing else.
    #[must_use]
    pub fn only_releases(&self) -> bool {
        matches!(self.lock, LockStep::Release(_))
            && self.idempotency.is_none()
            && self.sets.is_empty()
            && self.gets.is_empty()
            && self.counters.is_empty()
    }

    /// Every cell that it may read or write, its footprint, some perhaps twice. A duplicate's
    /// answer may be kept beside another id, which only the stored row names. Of a [step](Step) it is what it may read.
    pub fn footprint(&self) -> impl Iterator<Item = &Cell> {
        self.before_sets().chain(self.sets.iter().map(|set| &set.cell)).chain(self.after_sets())
    }

    fn before_sets(&self) -> impl Iterator<Item = &Cell> {
        let ids = self.idempotency.iter().flat_map(|idempotency| &idempotency.cells);
        let (held, wanted) = match &self.lock {
            LockStep::None => (None, None),
            LockStep::Release(held) | LockStep::Extend { held, .. } => (Some(&held.cell), None),
            LockStep::Acquire(wanted) => (None, Some(&wanted.cell)),
            LockStep::Pass(held, wanted) => (Some(&held.cell), Some(&wanted.cell)),
        };
        std::iter::once(&self.meta).chain(ids).chain(held).chain(wanted)
    }

    fn after_sets(&self) -> impl Iterator<Item = &Cell> {
        let step = self.step.iter().flat_map(|step| step.read());
        self.gets.iter().chain(self.counters.iter().map(|counter| &counter.cell)).chain(step)
    }

    /// The cells that deciding it may read. A set or a delete without `IfVersion` overwrites whatever is
    /// there; a duplicate's answer, again, may be kept elsewhere.
    pub fn reads(&self) -> impl Iterator<Item = &Cell> {
        self.before_sets().chain(self.compares()).chain(self.after_sets())
    }

    /// The values whose versions are compared: of these deciding looks at the [header](crate::layout::Header) only,
    /// unless they are among [`reads_whole`](Self::reads_whole) too.
    pub fn compares(&self) -> impl Iterator<Item = &Cell> {
        self.sets.iter().filter(|set| set.if_version.is_some()).map(|set| &set.cell)
    }

    /// Those of [`reads`](Self::reads) of which deciding looks at more than the
    /// [header](crate::layout::Header).
    pub fn reads_whole(&self) -> impl Iterator<Item = &Cell> {
        self.before_sets().chain(self.after_sets())
    }

    /// About how many bytes it adds at most to what is stored; 0 = it only reads, deletes and gives back.
    #[must_use]
    pub fn added_bytes_max(&self) -> usize {
        let row = |cell: &Cell, content_len: usize| cell.as_bytes().len() + HEADER_BYTES + content_len;
        let sets = self.sets.iter().map(|set| match &set.change {
            ValueChange::Put { json, .. } => row(&set.cell, json.len()),
            ValueChange::Delete => 0,
        });
        let counters = self.counters.iter().map(|counter| match counter.change {
            CounterChange::Add(_) | CounterChange::Set(_) => row(&counter.cell, 8),
            CounterChange::Read | CounterChange::Delete => 0,
        });
        let lock = self.wanted().map_or(0, |wanted| row(&wanted.cell, 16 + wanted.owner.len()));
        let kept = match &self.idempotency {
            None => 0,
            Some(idempotency) => {
                let ids = idempotency.cells.iter().map(|cell| row(cell, FINGERPRINT_BYTES + 1));
                // The answer is kept once: values that were read are most of it.
                let answer = if self.gets.is_empty() { 0 } else { KEPT_ANSWER_BYTES_MAX };
                ids.sum::<usize>() + answer
            }
        };
        let added = sets.sum::<usize>() + counters.sum::<usize>() + lock;
        // Ids alone must not keep anybody from making room.
        let makes_room = self.gets.is_empty() && (!self.sets.is_empty() || self.released().is_some());
        if added == 0 && makes_room { 0 } else { added + kept }
    }

    /// About how much memory and log the request takes, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let values = self.sets.iter().map(|set| match &set.change {
            ValueChange::Put { json, .. } => json.len(),
            ValueChange::Delete => 0,
        });
        let step = self.step.as_ref().map_or(0, |step| step.weight_bytes());
        self.footprint().map(|cell| cell.as_bytes().len()).sum::<usize>() + values.sum::<usize>() + step
    }
}

/// A set of names whose order of iteration is never used.
type Names<'a> = HashSet<&'a Cell, BuildHasherDefault<DefaultHasher>>;

struct Check<'a> {
    account: &'a Account,
    limits: &'a Limits,
}

impl Check<'_> {
    fn cell(&self, kind: Kind, id: &str, field: impl Fn() -> String) -> Result<Cell, Invalid> {
        check_id(id, self.limits, field)?;
        Ok(Cell::new(self.account, kind, id))
    }

    fn idempotency(
        &self,
        draft: &Draft,
        fingerprint: [u8; FINGERPRINT_BYTES],
    ) -> Result<Option<Idempotency>, Invalid> {
        let (ids, field) = (&draft.idempotency_ids, "IdempotencyIDs");
        if ids.is_empty() {
            return match draft.idempotency_ttl_s {
                Some(_) => invalid("IdempotencyTTL", "needs IdempotencyIDs"),
                None => Ok(None),
            };
        }
        if ids.len() > self.limits.idempotency_ids {
            return invalid(field, format!("at most {} ids a request", self.limits.idempotency_ids));
        }
        let ttl_s = draft.idempotency_ttl_s.unwrap_or(IDEMPOTENCY_TTL_S_DEFAULT);
        check_range("IdempotencyTTL", ttl_s, 1, IDEMPOTENCY_TTL_S_MAX)?;
        let cells = ids
            .iter()
            .enumerate()
            .map(|(at, id)| self.cell(Kind::Idempotency, id, || format!("{field}[{at}]")))
            .collect::<Result<Vec<_>, _>>()?;
        refuse_twice(&cells, |at| format!("{field}[{at}]"))?;
        Ok(Some(Idempotency { cells, ttl_s, fingerprint }))
    }

    fn lock_step(&self, draft: &Draft) -> Result<LockStep, Invalid> {
        let held = match (&draft.unlock_id, draft.unlock) {
            (Some(id), Some(handle)) => {
                check_range("Unlock", handle, 0, REVISION_MAX)?;
                Some(Held { cell: self.cell(Kind::Lock, id, || "UnlockID".into())?, handle })
            }
            (Some(_), None) => {
                return invalid(
                    "Unlock",
                    "is required with UnlockID: the handle that the lock was granted with",
                );
            }
            (None, Some(_)) => return invalid("Unlock", "needs UnlockID"),
            (None, None) => None,
        };
        let Some(id) = &draft.lock_id else {
            let stray = [
                ("LockDur", draft.lock_dur_s.is_some()),
                ("LockWait", draft.lock_wait_s.is_some()),
                ("LockOwner", draft.lock_owner.is_some()),
            ];
            return match stray.iter().find(|(_, given)| *given) {
                Some((field, _)) => invalid(*field, "needs LockID"),
                None => Ok(held.map_or(LockStep::None, LockStep::Release)),
            };
        };
        let cell = self.cell(Kind::Lock, id, || "LockID".into())?;
        let Some(dur_s) = draft.lock_dur_s else {
            return invalid("LockDur", "is required with LockID: the lease in seconds");
        };
        let wait_s = draft.lock_wait_s.unwrap_or(0);
        check_range("LockWait", wait_s, 0, LOCK_WAIT_S_MAX)?;
        let owner = draft.lock_owner.clone().map(Bytes::from);
        if owner.as_ref().is_some_and(|owner| owner.len() > OWNER_BYTES_MAX) {
            return invalid("LockOwner", format!("is longer than {OWNER_BYTES_MAX} bytes"));
        }
        match held {
            Some(held) if held.cell == cell => {
                check_range("LockDur", dur_s, 0, LOCK_DUR_S_MAX)?;
                Ok(LockStep::Extend { held, dur_s: (dur_s > 0).then_some(dur_s), owner })
            }
            held => {
                check_range("LockDur", dur_s, 1, LOCK_DUR_S_MAX)?;
                let wanted = Wanted { cell, dur_s, wait_s, owner: owner.unwrap_or_default() };
                Ok(match held {
                    Some(held) => LockStep::Pass(held, wanted),
                    None => LockStep::Acquire(wanted),
                })
            }
        }
    }

    fn counters(&self, drafts: Vec<AtomicDraft>) -> Result<Vec<CounterOp>, Invalid> {
        let counter = |(at, draft): (usize, AtomicDraft)| {
            let change = match (draft.add, draft.set, draft.delete) {
                (None, None, false) => CounterChange::Read,
                (Some(add), None, false) => CounterChange::Add(add),
                (None, Some(set), false) => CounterChange::Set(set),
                (None, None, true) => CounterChange::Delete,
                _ => return invalid(format!("Atomic[{at}]"), "give at most one of Add, Set and Delete"),
            };
            let cell = self.cell(Kind::Counter, &draft.key, || format!("Atomic[{at}].Key"))?;
            Ok(CounterOp { cell, change, if_eq: draft.if_eq })
        };
        drafts.into_iter().enumerate().map(counter).collect()
    }

    fn sets(&self, drafts: Vec<SetDraft>) -> Result<Vec<ValueOp>, Invalid> {
        let set = |(at, draft): (usize, SetDraft)| {
            let cell = self.cell(Kind::Value, &draft.key, || format!("KVSet[{at}].Key"))?;
            if let Some(version) = draft.if_version {
                check_range(&format!("KVSet[{at}].IfVersion"), version, 0, REVISION_MAX)?;
            }
            let change = self.value_change(at, draft.value, draft.delete, draft.ttl_s)?;
            Ok(ValueOp { cell, change, if_version: draft.if_version })
        };
        let sets = drafts.into_iter().enumerate().map(set).collect::<Result<Vec<_>, _>>()?;
        refuse_twice(sets.iter().map(|set| &set.cell), |at| format!("KVSet[{at}].Key"))?;
        Ok(sets)
    }

    fn value_change(
        &self,
        at: usize,
        value: Option<Bytes>,
        delete: bool,
        ttl_s: Option<u64>,
    ) -> Result<ValueChange, Invalid> {
        match (value, delete) {
            (Some(_), true) => invalid(format!("KVSet[{at}]"), "give either Value or Delete, not both"),
            (None, false) => invalid(format!("KVSet[{at}]"), "give Value, or Delete: true"),
            (None, true) if ttl_s.is_some() => invalid(format!("KVSet[{at}].TTL"), "needs Value"),
            (None, true) => Ok(ValueChange::Delete),
            (Some(json), false) => {
                let field = || format!("KVSet[{at}].Value");
                if json.len() > self.limits.value_bytes {
                    return Err(Invalid::TooLarge { field: field(), bytes_max: self.limits.value_bytes });
                }
                if json::depth(&json, self.limits.value_depth) > self.limits.value_depth {
                    return invalid(field(), format!("nests deeper than {} levels", self.limits.value_depth));
                }
                if let Some(ttl_s) = ttl_s {
                    check_range(&format!("KVSet[{at}].TTL"), ttl_s, 1, VALUE_TTL_S_MAX)?;
                }
                Ok(ValueChange::Put { json, ttl_s })
            }
        }
    }

    fn gets(&self, keys: Vec<String>) -> Result<Vec<Cell>, Invalid> {
        let get = |(at, key): (usize, String)| self.cell(Kind::Value, &key, || format!("KVGet[{at}].Key"));
        keys.into_iter().enumerate().map(get).collect()
    }
}

/// Checks a key, a lock id or an idempotency id.
///
/// # Errors
/// [`Invalid`] with the field's name.
pub fn check_id(id: &str, limits: &Limits, field: impl Fn() -> String) -> Result<(), Invalid> {
    if id.is_empty() {
        invalid(field(), "is empty")
    } else if id.len() > limits.key_bytes {
        invalid(field(), format!("is longer than {} bytes", limits.key_bytes))
    } else if id.as_bytes().contains(&0) {
        invalid(field(), "holds a NUL character")
    } else {
        Ok(())
    }
}

/// Checks a number's range.
///
/// # Errors
/// [`Invalid`] with the field's name.
pub fn check_range(field: &str, number: u64, min: u64, max: u64) -> Result<(), Invalid> {
    if (min..=max).contains(&number) {
        Ok(())
    } else {
        invalid(field, format!("is {number}; it must be between {min} and {max}"))
    }
}

fn refuse_twice<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    field: impl Fn(usize) -> String,
) -> Result<(), Invalid> {
    let mut seen = Names::default();
    for (at, cell) in cells.into_iter().enumerate() {
        if !seen.insert(cell) {
            return invalid(field(at), format!("{:?} is given twice", cell.id()));
        }
    }
    Ok(())
}
