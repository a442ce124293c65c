//! What the core's rules allow: from a state, an operation and what it was answered to the states that may follow.

use crate::ask::Ask;
use crate::expected;
use crate::span::Span;
use crate::state::{ALIVE_MS, Held, Is, Life, NOW_MS, State, UNTOLD, View, with_expiry, with_revision};
use bytes::Bytes;
use dragon_core::cell::{Cell, Kind};
use dragon_core::decide::{Decision, Turn, decide};
use dragon_core::layout::{self, Header, Kept, LockRow, Meta};
use dragon_core::request::{LockStep, Request};
use dragon_core::verdict::Verdict;
use serde_json::Value;

/// What the model is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) ask: &'a Ask,
    /// The status and body; none where the fate is not known.
    pub(crate) answer: Option<(u16, &'a Value)>,
    /// When it was decided, by the store's clock.
    pub(crate) now: Span,
    /// Whether others wanted the same lock at the time, so that it may have been refused for their sake.
    pub(crate) has_rivals: bool,
    /// The operation's number among its account's, where no answer tells what was written at the next revision.
    pub(crate) untold: Option<u64>,
}

/// A state that may follow.
pub(crate) struct Next {
    pub(crate) state: State,
    /// Whether it differs from the one before.
    pub(crate) is_changed: bool,
}

/// Choices beyond this many rows that may be either are not tried: no workload comes near.
const EITHER_MAX: usize = 10;

impl Case<'_> {
    /// The states that may follow when the operation happens now, with the answer that it got.
    pub(crate) fn steps(&self, state: &State) -> Vec<Next> {
        match (self.ask, self.answer) {
            (Ask::Db(request), _) => self.request_steps(state, request),
            (Ask::Watch { key, seen }, Some(answer)) => self.watch_steps(state, (key, *seen), answer),
            (Ask::List { .. }, Some((200, page))) => self.list_step(state, page).into_iter().collect(),
            (Ask::Watch { .. } | Ask::List { .. }, _) => Vec::new(),
        }
    }

    /// Every way in which rows that may be alive or over can be one of them.
    fn choices<'c>(&self, state: &State, cells: impl Iterator<Item = &'c Cell>) -> Vec<Vec<(Cell, bool)>> {
        let mut either: Vec<&Cell> = cells
            .filter(|cell| state.get(cell).is_some_and(|held| held.life.at(self.now) == Is::Either))
            .collect();
        either.sort_unstable();
        either.dedup();
        either.truncate(EITHER_MAX);
        (0..1_usize << either.len())
            .map(|choice| {
                let alive = |(at, cell): (usize, &&Cell)| ((*cell).clone(), choice >> at & 1 == 0);
                either.iter().enumerate().map(alive).collect()
            })
            .collect()
    }

    fn request_steps(&self, state: &State, request: &Request) -> Vec<Next> {
        let mut steps = Vec::new();
        for chosen in self.choices(state, request.footprint()) {
            let step = self.decided(state, request, &chosen, Turn::First);
            let queued = || {
                let is_refused_for_others = self.has_rivals && expected::is_lock_timeout(self.answer);
                if is_refused_for_others { self.decided(state, request, &chosen, Turn::Queued) } else { None }
            };
            steps.extend(step.or_else(queued));
        }
        steps
    }

    fn decided(&self, state: &State, request: &Request, chosen: &[(Cell, bool)], turn: Turn) -> Option<Next> {
        let mut view = View { state, now: self.now, chosen_alive: chosen };
        let decision = decide(request, turn, &mut view, NOW_MS).ok()?;
        let verdict = &decision.verdict;
        let Some((status, body)) = self.answer else {
            // It may have been applied, and only that makes a difference.
            let is_applied = matches!(verdict, Verdict::Applied(_)) && !request.is_read();
            let now = chosen_time(state, chosen, self.now).filter(|_| is_applied)?;
            return Some(Next::after(state, chosen, now).unheard(request, decision, (now, self.untold)));
        };
        if expected::answer(verdict)? != (status, expected::without_times(body)) {
            return None;
        }
        let mut next = Next { state: state.clone(), is_changed: false };
        let now = chosen_time(state, chosen, self.now)?;
        let now = next.narrow(request, verdict, body, (now, turn))?;
        next.note(chosen, now);
        next.apply(decision, (now, self.untold));
        Some(next)
    }

    fn watch_steps(&self, state: &State, (key, seen): (&Cell, u64), answer: (u16, &Value)) -> Vec<Next> {
        let mut steps = Vec::new();
        for chosen in self.choices(state, std::iter::once(key)) {
            let held = state.get(key).filter(|held| match held.life.at(self.now) {
                Is::Alive => true,
                Is::Over => false,
                Is::Either => chosen.iter().all(|(_, alive)| *alive),
            });
            let version = held.map_or(0, |held| revision_of(key, &held.row));
            let is_told = match answer {
                (204, _) => version == seen,
                (200, body) => {
                    version != seen && *body == expected::value_entry(key, held.map(|held| &held.row))
                }
                _ => false,
            };
            if is_told {
                steps.push(Next::after(state, &chosen, self.now));
            }
        }
        steps
    }

    /// A page fits at most one way: what it shows is alive, and what it leaves out is over.
    fn list_step(&self, state: &State, page: &Value) -> Option<Next> {
        let Ask::List { kind, prefix, after, entries_max } = self.ask else { return None };
        let field = match kind {
            Kind::Counter => "Counters",
            Kind::Lock => "Locks",
            _ => "KV",
        };
        let name = if *kind == Kind::Lock { "ID" } else { "Key" };
        let mut shown = page[field].as_array()?.iter().peekable();
        let mut left = *entries_max;
        let mut next = Next { state: state.clone(), is_changed: false };
        let is_asked = |cell: &Cell| cell.id().starts_with(prefix.as_str()) && cell.id() > after.as_str();
        for (cell, held) in state.of_kind(*kind).filter(|(cell, _)| is_asked(cell)) {
            let is_shown = shown.peek().is_some_and(|entry| entry[name] == cell.id());
            if is_shown && left == 0 {
                return None;
            }
            if left == 0 {
                // Beyond the page: only that there is more is told.
                let may_be_more = held.life.at(self.now) != Is::Over;
                match page["More"] == true {
                    true if may_be_more => return Some(next).filter(|_| shown.peek().is_none()),
                    true => continue,
                    false if held.life.at(self.now) == Is::Alive => return None,
                    false => {}
                }
            }
            let alive = match held.life.at(self.now) {
                Is::Either => is_shown,
                is => is == Is::Alive,
            };
            if alive != is_shown {
                return None;
            }
            if held.life.at(self.now) == Is::Either {
                next.note(&[(cell.clone(), alive)], self.now);
            }
            if let Some(entry) = shown.next_if(|_| is_shown) {
                left -= 1;
                next.compare_entry(cell, held, entry)?;
            }
        }
        (shown.peek().is_none() && page["More"] != true).then_some(next)
    }

    /// The release that the server makes of its own accord for a client that hung up.
    pub(crate) fn release(state: &State, at: usize, now: Span) -> Option<State> {
        let mut state = state.clone();
        let (lock, handle) = state.remove_orphan(at);
        let held = state.get(&lock)?;
        let holds = layout::read_lock(&lock, &held.row).is_ok_and(|(_, row)| row.handle == handle);
        if !holds || held.life.at(now) == Is::Over {
            return None;
        }
        let request =
            Request::release(lock.account(), dragon_core::request::Held { cell: lock.clone(), handle });
        let mut next = Next::after(&state, &[(lock, true)], now);
        let mut view = View { state: &next.state, now, chosen_alive: &[] };
        let decision = decide(&request, Turn::First, &mut view, NOW_MS).ok()?;
        next.apply(decision, (now, None));
        Some(next.state)
    }
}

/// When all that was chosen can be true at once, if ever: nothing is over before its end, nor alive after it.
fn chosen_time(state: &State, chosen: &[(Cell, bool)], mut now: Span) -> Option<Span> {
    for (cell, alive) in chosen {
        let Some(Life::Until(end)) = state.get(cell).map(|held| held.life) else { continue };
        if *alive {
            now.max_ms = now.max_ms.min(end.max_ms.saturating_sub(1));
        } else {
            now.min_ms = now.min_ms.max(end.min_ms);
        }
    }
    (now.min_ms <= now.max_ms).then_some(now)
}

/// A row without what no answer shows, so that states need not differ by it: the revision of a counter's or a lock's last write,
/// and, where nothing is told of it, the revision at which the row was written.
fn anonymous(cell: &Cell, row: &Bytes, untold: Option<u64>) -> Bytes {
    let revision = revision_of(cell, row);
    let row = match cell.kind() {
        Kind::Counter | Kind::Lock => with_revision(row, UNTOLD),
        Kind::Value | Kind::Idempotency if untold.is_some() => with_revision(row, UNTOLD),
        _ => return row.clone(),
    };
    let header = Header { revision: UNTOLD, expires_ms: 0 };
    match (cell.kind(), untold) {
        (Kind::Lock, Some(number)) => match layout::read_lock(cell, &row) {
            Ok((_, lock)) if lock.handle == revision => {
                layout::write_lock(header, &LockRow { handle: untold_handle(number), ..lock })
            }
            _ => row,
        },
        (Kind::Idempotency, Some(_)) => match layout::read_idempotency(cell, &row) {
            // It was answered with its revision: nobody was told of that, then.
            Ok((fingerprint, Kept::Answer(answer))) if expected::has_version(&answer) => {
                layout::write_idempotency(header, &fingerprint, &Kept::Nothing)
            }
            _ => row,
        },
        _ => row,
    }
}

/// The handle of a lock that this operation took without anybody being told: its own, whenever that was.
fn untold_handle(number: u64) -> u64 {
    UNTOLD + 1 + number
}

fn revision_of(cell: &Cell, row: &Bytes) -> u64 {
    layout::header(cell, row).map_or(0, |header| header.revision)
}

impl Next {
    /// The same state, in which it is known what was chosen.
    fn after(state: &State, chosen: &[(Cell, bool)], now: Span) -> Self {
        let mut next = Self { state: state.clone(), is_changed: false };
        next.note(chosen, now);
        next
    }

    /// Applies a request whose client was not told. If it took a lock, the server may find the client gone.
    fn unheard(mut self, request: &Request, decision: Decision, (now, untold): (Span, Option<u64>)) -> Self {
        let granted = expected::granted(&decision.verdict);
        self.apply(decision, (now, untold));
        let handle = granted.map(|handle| untold.map_or(handle, untold_handle));
        if let (Some(handle), Some(wanted), None) = (handle, request.wanted(), request.idempotency()) {
            self.state.add_orphan(wanted.cell.clone(), handle);
        }
        self
    }

    /// Notes what was chosen: from now on it is known.
    fn note(&mut self, chosen: &[(Cell, bool)], now: Span) {
        for (cell, alive) in chosen {
            let Some(held) = self.state.get(cell) else { continue };
            let seen = held.life.seen(*alive, now);
            self.is_changed |= seen != held.life;
            self.state.set_life(cell, seen);
        }
    }

    /// Writes what the core has decided.
    fn apply(&mut self, decision: Decision, (now, untold): (Span, Option<u64>)) {
        for (cell, row) in decision.writes {
            let held = row.and_then(|row| {
                if cell.kind() == Kind::Meta {
                    let meta = layout::read_meta(&cell, Some(&row)).ok()?;
                    // The mark belongs to the plain numbers that the core was given; what was seen to be over is noted.
                    let row = layout::write_meta(Meta { mark_ms: 0, ..meta });
                    return Some(Held { row, life: Life::Forever });
                }
                let life = match layout::header(&cell, &row).ok()?.expires_ms {
                    0 => Life::Forever,
                    ALIVE_MS => self.state.get(&cell)?.life,
                    expires_ms => Life::Until(now.plus_ms(expires_ms - NOW_MS)),
                };
                Some(Held { row: anonymous(&cell, &with_expiry(&row, 0), untold), life })
            });
            if self.state.get(&cell) != held.as_ref() {
                self.is_changed = true;
                self.state.set(&cell, held);
            }
        }
    }

    /// Takes from the answer's `Till` what it tells of the time of the decision, or of a lease. `None` where that
    /// can't be.
    fn narrow(
        &mut self,
        request: &Request,
        verdict: &Verdict,
        body: &Value,
        (now, turn): (Span, Turn),
    ) -> Option<Span> {
        let Some(till) = body["Till"].as_u64().map(Span::second) else { return Some(now) };
        match (verdict, request.lock()) {
            (Verdict::Applied(_), LockStep::Acquire(wanted) | LockStep::Pass(_, wanted)) => {
                now.and(till.minus_ms(wanted.dur_s * 1_000))
            }
            (Verdict::Applied(_), LockStep::Extend { dur_s: Some(dur_s), .. }) => {
                now.and(till.minus_ms(dur_s * 1_000))
            }
            (Verdict::Applied(_), LockStep::Extend { held, dur_s: None, .. }) => {
                self.narrow_life(&held.cell, till).then_some(now)
            }
            // One that is refused for others' sake may be told of a lease that is over, or of none.
            (Verdict::Blocked(blocked), _) if turn == Turn::Queued && blocked.handle == 0 => {
                (till.min_ms <= now.max_ms).then_some(now)
            }
            (Verdict::Blocked(blocked), _) => self.narrow_life(&blocked.cell, till).then_some(now),
            _ => Some(now),
        }
    }

    /// Takes in that a lease ends within this. Whether it may.
    fn narrow_life(&mut self, cell: &Cell, till: Span) -> bool {
        match self.state.get(cell).map(|held| held.life) {
            Some(Life::Until(end)) => end.and(till).is_some_and(|both| {
                self.is_changed |= both != end;
                self.state.set_life(cell, Life::Until(both));
                true
            }),
            // Rows that are over for good may still be told of.
            Some(Life::Over) => true,
            Some(Life::Forever) | None => false,
        }
    }

    fn compare_entry(&mut self, cell: &Cell, held: &Held, entry: &Value) -> Option<()> {
        let is_told = match cell.kind() {
            Kind::Lock => {
                let till = entry["Till"].as_u64().map(Span::second)?;
                self.narrow_life(cell, till) && expected::is_lock_entry(cell, &held.row, entry)
            }
            Kind::Counter => *entry == expected::counter_entry(cell, &held.row),
            _ => *entry == expected::value_entry(cell, Some(&held.row)),
        };
        is_told.then_some(())
    }
}
