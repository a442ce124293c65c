//! Who held which lock, from what clients were told.

use crate::ask::LockAsk;
use crate::check::Scope;
use crate::history::{Moment, Operation, Outcome};
use std::collections::BTreeMap;

/// A grant that some client was told of, and what became of it.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    pub(crate) lock: &'a str,
    pub(crate) handle: u64,
    /// The operation that tells of it.
    pub(crate) operation: usize,
    /// Not before this was it granted.
    pub(crate) called_us: Moment,
    /// Not after this was it granted.
    pub(crate) returned_us: Moment,
    /// When the lease that was granted ends, in store's seconds.
    pub(crate) first_till_s: u64,
    /// The lease's length, seconds.
    pub(crate) dur_s: u64,
    /// When the last lease that its holder was told of ends, in store's seconds.
    pub(crate) till_s: u64,
    /// The revision of that lease: a later one may be shorter.
    leased_at: u64,
    /// From when on the holder can't be sure any more: the first call that may have given the lock back, or that may
    /// have changed the lease without its being told.
    pub(crate) given_back_us: Option<Moment>,
    /// When it surely had been given back.
    pub(crate) free_us: Option<Moment>,
}

/// By lock, in the order of their handles.
pub(crate) type Holds<'a> = BTreeMap<&'a str, Vec<Hold<'a>>>;

/// All holds of an account's locks, by lock and in the order of their handles.
pub(crate) fn gather<'a>(scope: &Scope<'a>) -> Holds<'a> {
    let mut holds: BTreeMap<(&str, u64), Hold<'_>> = BTreeMap::new();
    for (number, operation) in scope.operations() {
        let Some(ask) = LockAsk::of(operation) else { continue };
        if let Some(hold) = told(scope, number, operation, &ask) {
            let known = holds.entry((hold.lock, hold.handle)).or_insert(hold);
            known.returned_us = known.returned_us.min(operation.returned_us().unwrap_or(Moment::MAX));
        }
    }
    for (_, operation) in scope.operations() {
        let Some(ask) = LockAsk::of(operation) else { continue };
        if let Some(hold) = ask.held.and_then(|held| holds.get_mut(&held)) {
            hold.follow(operation, &ask);
        }
    }
    let mut by_lock = Holds::new();
    for hold in holds.into_values() {
        by_lock.entry(hold.lock).or_default().push(hold);
    }
    by_lock
}

/// The grant that an answer tells of: its own, or of a duplicate the first one's.
fn told<'a>(
    scope: &Scope<'a>,
    number: usize,
    operation: &'a Operation,
    ask: &LockAsk<'a>,
) -> Option<Hold<'a>> {
    let lock = ask.wanted()?;
    let (status, body) = operation.answer()?;
    let (answer, called_us) = match status {
        200 => (body, operation.called_us),
        _ if body["SameRequest"] == true => (&body["Response"], first_call_us(scope, operation)),
        _ => return None,
    };
    let (handle, till_s) = (answer["Lock"].as_u64()?, answer["Till"].as_u64()?);
    Some(Hold {
        lock,
        handle,
        operation: number,
        called_us,
        returned_us: operation.returned_us()?,
        first_till_s: till_s,
        dur_s: ask.dur_s,
        till_s,
        leased_at: handle,
        given_back_us: None,
        free_us: None,
    })
}

/// When the first request with this body was sent.
fn first_call_us(scope: &Scope<'_>, operation: &Operation) -> Moment {
    let same = scope.operations().filter(|(_, other)| other.body == operation.body);
    same.map(|(_, other)| other.called_us).min().unwrap_or(operation.called_us)
}

impl Hold<'_> {
    fn follow(&mut self, operation: &Operation, ask: &LockAsk<'_>) {
        let is_unknown = matches!(operation.outcome, Outcome::Unknown { .. });
        let is_applied = operation.applied().is_some() || is_duplicate(operation);
        if let Some(body) = operation.applied().filter(|_| ask.is_extend()) {
            let (till_s, version) = (body["Till"].as_u64(), body["Version"].as_u64());
            if let (Some(till_s), Some(version)) =
                (till_s, version.filter(|version| *version > self.leased_at))
            {
                (self.till_s, self.leased_at) = (till_s, version);
            }
        }
        // One that only checks neither gives back nor changes the lease.
        let may_end_it = is_unknown && !(ask.is_extend() && ask.dur_s == 0);
        if may_end_it || (is_applied && !ask.is_extend()) {
            self.given_back_us = Some(self.given_back_us.unwrap_or(Moment::MAX).min(operation.called_us));
        }
        if is_applied && !ask.is_extend() {
            let returned_us = operation.returned_us().unwrap_or(Moment::MAX);
            self.free_us = Some(self.free_us.unwrap_or(Moment::MAX).min(returned_us));
        }
    }

    /// Until when its holder surely held it: the first attempt to give it back, or the end of the lease as early
    /// as the store's clock can have come there.
    pub(crate) fn held_till_us(&self, scope: &Scope<'_>) -> Moment {
        let clock = &scope.history.clock;
        let lease_us = (self.till_s * 1_000).saturating_sub(clock.zero_ms_max) * 1_000;
        self.given_back_us.unwrap_or(Moment::MAX).min(lease_us)
    }

    /// When its lease had surely ended, as late as the store's clock can have come there.
    pub(crate) fn lease_over_us(&self, scope: &Scope<'_>) -> Moment {
        let clock = &scope.history.clock;
        (self.till_s * 1_000 + 1_000).saturating_sub(clock.zero_ms_min) * 1_000
    }
}

/// Whether it was applied at an earlier try.
fn is_duplicate(operation: &Operation) -> bool {
    operation
        .answer()
        .is_some_and(|(_, body)| body["Code"] == "duplicate_request" && body["SameRequest"] == true)
}
