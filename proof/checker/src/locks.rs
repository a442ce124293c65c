//! Locks: no two holders, handles rise, first come first served within a frontend, and nobody sleeps on a free lock.

use crate::ask::{LockAsk, may_wait_till_us};
use crate::check::{Report, Scope};
use crate::history::{Moment, Operation, Outcome};
use crate::holds::{Hold, Holds};

pub(crate) fn check(scope: &Scope<'_>, by_lock: &Holds<'_>, report: &mut Report) {
    handles_rise(scope, by_lock.values().flatten(), report);
    for (lock, holds) in by_lock {
        report.looked_at.grants += holds.len();
        one_holder(scope, lock, holds, report);
        nobody_sleeps(scope, lock, holds, report);
    }
    first_come_first_served(scope, report);
}

fn one_holder(scope: &Scope<'_>, lock: &str, holds: &[Hold<'_>], report: &mut Report) {
    let mut sure: Vec<(Moment, Moment, &Hold<'_>)> = holds
        .iter()
        .map(|hold| (hold.returned_us, hold.held_till_us(scope), hold))
        .filter(|(from_us, till_us, _)| from_us < till_us)
        .collect();
    sure.sort_by_key(|(from_us, ..)| *from_us);
    let mut longest: Option<(Moment, &Hold<'_>)> = None;
    for (from_us, till_us, hold) in sure {
        if let Some((held_till_us, holder)) = longest
            && held_till_us > from_us
        {
            let what = format!(
                "{lock} has two holders at {from_us} us: handle {} held it until {held_till_us} us, and {} has it",
                holder.handle, hold.handle
            );
            report.add("locks", scope.account, what, vec![holder.operation, hold.operation]);
        }
        if longest.is_none_or(|(held_till_us, _)| held_till_us < till_us) {
            longest = Some((till_us, hold));
        }
    }
}

/// A grant that was asked for after another had been answered has the higher handle, whatever the lock.
fn handles_rise<'h>(scope: &Scope<'_>, holds: impl Iterator<Item = &'h Hold<'h>>, report: &mut Report) {
    let mut by_call: Vec<&Hold<'_>> = holds.collect();
    let mut by_return = by_call.clone();
    by_call.sort_by_key(|hold| hold.called_us);
    by_return.sort_by_key(|hold| hold.returned_us);
    let mut before = by_return.into_iter().peekable();
    let mut highest: Option<&Hold<'_>> = None;
    for hold in by_call {
        while let Some(earlier) = before.next_if(|earlier| earlier.returned_us < hold.called_us) {
            if highest.is_none_or(|highest| highest.handle < earlier.handle) {
                highest = Some(earlier);
            }
        }
        if let Some(highest) = highest.filter(|highest| highest.handle >= hold.handle) {
            let what = format!("handle {} was granted after {} had been", hold.handle, highest.handle);
            report.add("locks", scope.account, what, vec![highest.operation, hold.operation]);
        }
    }
}

/// Once a lock is known to be free, one who waits for it gets it within the grace.
fn nobody_sleeps(scope: &Scope<'_>, lock: &str, holds: &[Hold<'_>], report: &mut Report) {
    let waiters: Vec<(usize, &Operation)> =
        scope.operations().filter(|(_, operation)| waits(operation, lock)).collect();
    for (at, hold) in holds.iter().enumerate() {
        let free_us = match hold.free_us {
            Some(free_us) => free_us,
            None if hold.given_back_us.is_none() => hold.lease_over_us(scope),
            None => continue,
        };
        let deadline_us = scope.patience.deadline_us(free_us);
        let is_there = |(_, operation): &&(usize, &Operation)| {
            operation.called_us <= free_us && operation.ended_us() >= free_us
        };
        report.looked_at.served_waiters += usize::from(waiters.iter().any(|waiter| is_there(&waiter)));
        let sleeps = |waiter: &&(usize, &Operation)| is_there(waiter) && waiter.1.ended_us() > deadline_us;
        let Some((number, _)) = waiters.iter().find(sleeps) else { continue };
        // One whose answer was lost may have had it.
        let may_be_elsewhere = |operation: &Operation| {
            is_wanted_by(operation, lock)
                && matches!(operation.outcome, Outcome::Unknown { .. })
                && operation.called_us <= deadline_us
                && scope.patience.deadline_us(may_wait_till_us(operation)) >= hold.called_us
        };
        if scope.operations().any(|(_, operation)| may_be_elsewhere(operation)) {
            continue;
        }
        let is_late = |next: &Hold<'_>| next.called_us > deadline_us || next.returned_us > deadline_us;
        if holds[at + 1..].first().is_none_or(is_late) {
            let what = format!(
                "{lock} was free from {free_us} us on, and one who waited had not got it at {deadline_us} us"
            );
            report.add("locks", scope.account, what, vec![hold.operation, *number]);
        }
    }
}

fn waits(operation: &Operation, lock: &str) -> bool {
    let is_refused = matches!(operation.outcome, Outcome::NotApplied { .. });
    !is_refused && LockAsk::of(operation).is_some_and(|ask| ask.wanted() == Some(lock) && ask.wait_s > 0)
}

fn is_wanted_by(operation: &Operation, lock: &str) -> bool {
    LockAsk::of(operation).is_some_and(|ask| ask.wanted() == Some(lock))
}

fn first_come_first_served(scope: &Scope<'_>, report: &mut Report) {
    let waits: Vec<(usize, &Operation, LockAsk<'_>)> = scope
        .operations()
        .filter_map(|(number, operation)| Some((number, operation, LockAsk::of(operation)?)))
        .filter(|(_, _, ask)| ask.wanted().is_some())
        .collect();
    for (first_number, first, first_ask) in &waits {
        let Some(queued_us) = first.queued_us else { continue };
        for (second_number, second, second_ask) in &waits {
            let is_same_queue = first_ask.wanted() == second_ask.wanted()
                && (first.frontend, first.incarnation) == (second.frontend, second.incarnation);
            if !is_same_queue || second.called_us < queued_us || second.called_us > first.ended_us() {
                continue;
            }
            let Some(second_handle) = second.applied().and_then(|body| body["Lock"].as_u64()) else {
                continue;
            };
            report.looked_at.queued_pairs += 1;
            let is_overtaken = match (first.applied(), first.answer()) {
                (Some(body), _) => body["Lock"].as_u64() > Some(second_handle),
                // It still had time to wait when the later one had got the lock.
                (None, Some((_, body))) if body["Code"] == "lock_timeout" => {
                    second.ended_us() < first.called_us + first_ask.wait_s * 1_000_000
                }
                _ => false,
            };
            if is_overtaken {
                let what = format!(
                    "one that came later got handle {second_handle} before one that was in the queue"
                );
                report.add("locks", scope.account, what, vec![*first_number, *second_number]);
            }
        }
    }
}
