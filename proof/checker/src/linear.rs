//! Linearizability of whole requests, account by account, by the core's own rules: is there an order of the
//! operations that respects real time, in which each would have been answered as it was?
//!
//! The search is the one of Wing and Gong (1993) in the form of Lowe's just-in-time linearization ("Testing for
//! linearizability", 2017), breadth first: a configuration is the account's state and which operations under way
//! have taken effect in it. At each return the operation must have taken effect; where it has not, others under way
//! may have done so before it. Accounts are independent, so each is searched by itself (as porcupine partitions).
//!
//! What keeps the search small is the contract: an applied write takes exactly one revision, and most answers tell which. So
//! an operation whose revision is known happens at that revision or not at all, and one whose fate is unknown
//! only at a revision that no other one took. Of those of unknown fate that ask the same, the first comes first. And where no
//! answer tells what was written at a revision, states need not differ by it: whichever of two came first, if they touch
//! nothing in common, the state is the same.

use crate::ask::{Ask, LockAsk, may_wait_till_us};
use crate::clues::{Clues, Effect};
use crate::expected;
use crate::history::{History, Moment, Operation, Outcome};
use crate::model::Case;
use crate::span::Clock;
use crate::state::State;
use dragon_core::cell::{Account, Cell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// Configurations looked at in one account before it is given up.
const CONFIGURATIONS_MAX: usize = 400_000;

/// What became of an account's check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// There is such an order.
    Linearizable,
    /// There is none: this operation (a number in the history) can't be placed.
    Violated { operation: usize, why: String },
    /// The search grew too large to tell.
    Undecided,
}

/// An account's operations, in the order of their calls.
struct Search<'a> {
    clock: &'a Clock,
    meta: Cell,
    asked: Vec<Asked<'a>>,
    clues: Clues,
    /// The latest call among the writes that have returned: what comes after them comes after that.
    since_us: Moment,
    configurations: usize,
}

struct Asked<'a> {
    number: usize,
    operation: &'a Operation,
    ask: Ask,
    effect: Effect,
    has_rivals: bool,
    /// The one before that asks the same, where the fate of both is unknown.
    twin: Option<usize>,
}

#[derive(Clone)]
struct Configuration {
    state: Rc<State>,
    /// Operations under way that have taken effect, in order of their numbers.
    done: Vec<usize>,
}

enum Event {
    Call(usize),
    Return(usize),
}

/// Checks one account: `numbers` are its operations in the history.
pub(crate) fn check(history: &History, clock: &Clock, account: &str, numbers: &[usize]) -> Finding {
    match Search::new(history, clock, account, numbers) {
        Ok(mut search) => search.run(),
        Err(finding) => finding,
    }
}

impl<'a> Search<'a> {
    fn new(
        history: &'a History,
        clock: &'a Clock,
        account: &str,
        numbers: &[usize],
    ) -> Result<Self, Finding> {
        let rivals = rivals(history, numbers);
        let mut asked = Vec::new();
        for &number in numbers {
            let operation = &history.operations[number];
            let violated = |why: String| Finding::Violated { operation: number, why };
            let ask = Ask::of(operation).map_err(|error| violated(error.to_string()))?;
            let effect = Effect::of(operation, &ask);
            let is_nothing = matches!(operation.outcome, Outcome::NotApplied { .. })
                || matches!(operation.outcome, Outcome::Unknown { .. }) && effect == Effect::None;
            if !is_nothing {
                let has_rivals = has_rivals(&rivals, number, operation);
                asked.push(Asked { number, operation, ask, effect, has_rivals, twin: None });
            }
        }
        asked.sort_by_key(|asked| asked.operation.called_us);
        let meta = Cell::meta(&Account::new(account).map_err(|error| Finding::Violated {
            operation: numbers.first().copied().unwrap_or(0),
            why: error.to_string(),
        })?);
        find_twins(&mut asked);
        let operations: Vec<_> =
            asked.iter().map(|asked| (asked.operation, &asked.ask, asked.effect)).collect();
        let clues = Clues::gather(&operations);
        Ok(Self { clock, meta, asked, clues, since_us: 0, configurations: 0 })
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (at, asked) in self.asked.iter().enumerate() {
            // At the same moment, calls come before returns: that only allows more.
            events.push((asked.operation.called_us, 0, Event::Call(at)));
            if let Some(returned_us) = asked.operation.returned_us() {
                events.push((returned_us, 1, Event::Return(at)));
            }
        }
        events.sort_by_key(|(moment, kind, _)| (*moment, *kind));
        events.into_iter().map(|(_, _, event)| event).collect()
    }

    fn run(&mut self) -> Finding {
        let mut configurations = vec![Configuration { state: Rc::default(), done: Vec::new() }];
        let mut open: Vec<usize> = Vec::new();
        for event in self.events() {
            match event {
                Event::Call(at) => {
                    open.push(at);
                    for configuration in &mut configurations {
                        self.settle(configuration, &[at], self.asked[at].operation.called_us);
                    }
                }
                Event::Return(at) => {
                    let after = self.returned(&configurations, &open, at);
                    if self.configurations > CONFIGURATIONS_MAX {
                        return Finding::Undecided;
                    }
                    if after.is_empty() {
                        return self.violated(&configurations, at);
                    }
                    configurations = after;
                    if self.asked[at].effect != Effect::None {
                        self.since_us = self.since_us.max(self.asked[at].operation.called_us);
                    }
                    open.retain(|&other| other != at);
                }
            }
        }
        Finding::Linearizable
    }

    /// All configurations in which the operation has taken effect by now.
    fn returned(&mut self, before: &[Configuration], open: &[usize], at: usize) -> Vec<Configuration> {
        let now_us = self.asked[at].operation.returned_us().unwrap_or(Moment::MAX);
        let mut after = Vec::new();
        let (mut found, mut seen) = (HashSet::new(), HashSet::new());
        let mut stack: Vec<Configuration> = before.to_vec();
        while let Some(configuration) = stack.pop() {
            self.configurations += 1;
            if self.configurations > CONFIGURATIONS_MAX {
                return Vec::new();
            }
            if let Ok(place) = configuration.done.binary_search(&at) {
                let mut configuration = configuration;
                configuration.done.remove(place);
                if found.insert(configuration.key()) {
                    after.push(configuration);
                }
                continue;
            }
            for next in self.nexts(&configuration, open, now_us) {
                if seen.insert(next.key()) {
                    stack.push(next);
                }
            }
        }
        after
    }

    /// What may follow when one more operation takes effect.
    fn nexts(&self, configuration: &Configuration, open: &[usize], now_us: Moment) -> Vec<Configuration> {
        let revision = configuration.state.revision(&self.meta) + 1;
        let mut nexts = Vec::new();
        for &other in open {
            if !self.is_next(configuration, other, revision) {
                continue;
            }
            for next in self.case(configuration, other, now_us).steps(&configuration.state) {
                let mut done = configuration.done.clone();
                done.insert(done.partition_point(|&before| before < other), other);
                nexts.push(Configuration { state: Rc::new(next.state), done });
            }
        }
        if !self.clues.is_taken(revision) {
            for at in 0..configuration.state.orphans().len() {
                let now = self.clock.between(self.since_us, now_us.max(self.since_us));
                if let Some(state) = Case::release(&configuration.state, at, now) {
                    let done = configuration.done.clone();
                    nexts.push(Configuration { state: Rc::new(state), done });
                }
            }
        }
        for next in &mut nexts {
            self.settle(next, open, now_us);
        }
        nexts
    }

    /// Whether this one is to be tried next, at this revision.
    fn is_next(&self, configuration: &Configuration, other: usize, revision: u64) -> bool {
        let is_done = |other: usize| configuration.done.binary_search(&other).is_ok();
        let Asked { effect, twin, .. } = &self.asked[other];
        !is_done(other) && self.clues.allow(other, *effect, revision) && twin.is_none_or(is_done)
    }

    /// Places operations that change nothing as soon as they fit: they stand in nobody's way.
    fn settle(&self, configuration: &mut Configuration, open: &[usize], now_us: Moment) {
        for &at in open {
            let Err(place) = configuration.done.binary_search(&at) else { continue };
            let is_placed = self.asked[at].effect == Effect::None
                && self
                    .case(configuration, at, now_us)
                    .steps(&configuration.state)
                    .iter()
                    .any(|next| !next.is_changed);
            if is_placed {
                configuration.done.insert(place, at);
            }
        }
    }

    /// No write that has taken effect in it was called after this, so whatever comes next comes later.
    fn since_us(&self, configuration: &Configuration) -> Moment {
        let done = configuration.done.iter().map(|at| &self.asked[*at]);
        let writes = done.filter(|asked| asked.effect != Effect::None);
        writes.map(|asked| asked.operation.called_us).max().unwrap_or(0).max(self.since_us)
    }

    fn case(&self, configuration: &Configuration, at: usize, now_us: Moment) -> Case<'_> {
        let Asked { operation, ask, has_rivals, .. } = &self.asked[at];
        // Of one that nobody was told of, not when exactly: or states would differ by the order of such.
        let since_us = match operation.outcome {
            Outcome::Unknown { .. } => self.since_us,
            Outcome::Answered { .. } | Outcome::NotApplied { .. } => self.since_us(configuration),
        };
        let from_us = operation.called_us.max(since_us);
        let till_us = operation.returned_us().map_or(now_us, |returned_us| returned_us.min(now_us));
        let now = self.clock.between(from_us, till_us.max(from_us));
        let is_untold = self.clues.tell_nothing_of(configuration.state.revision(&self.meta) + 1);
        let untold = is_untold.then_some(at as u64);
        Case { ask, answer: operation.answer(), now, has_rivals: *has_rivals, untold }
    }

    fn violated(&self, configurations: &[Configuration], at: usize) -> Finding {
        let Asked { number, operation, ask, .. } = &self.asked[at];
        let mut why = format!(
            "no order explains the answer {} to {} (called at {} us)",
            operation.answer().map_or_else(String::new, |(status, body)| format!("{status} {body}")),
            operation.body,
            operation.called_us,
        );
        for configuration in configurations.iter().take(3) {
            let revision = configuration.state.revision(&self.meta);
            why += &format!("; at revision {revision}");
            if let Ask::Db(request) = ask {
                why += &format!(" the rules say {}", self.would_be(&configuration.state, request, operation));
            }
        }
        Finding::Violated { operation: *number, why }
    }

    fn would_be(
        &self,
        state: &State,
        request: &dragon_core::request::Request,
        operation: &Operation,
    ) -> String {
        let returned_us = operation.returned_us().unwrap_or(operation.called_us);
        let now = self.clock.between(operation.called_us, returned_us);
        let mut view = crate::state::View { state, now, chosen_alive: &[] };
        let turn = dragon_core::decide::Turn::First;
        let decision = dragon_core::decide::decide(request, turn, &mut view, crate::state::NOW_MS);
        match decision.ok().and_then(|decision| expected::answer(&decision.verdict)) {
            Some((status, body)) => format!("{status} {body}"),
            None => "nothing".into(),
        }
    }
}

impl Configuration {
    fn key(&self) -> (u128, Vec<usize>) {
        (self.state.hash(), self.done.clone())
    }
}

fn find_twins(asked: &mut [Asked<'_>]) {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, asked) in asked.iter_mut().enumerate() {
        if matches!(asked.operation.outcome, Outcome::Unknown { .. }) {
            asked.twin = last.insert(asked.operation.body.to_string(), at);
        }
    }
}

/// The calls and ends of all requests for a lock, by lock: those that were not applied stood in the queue as well.
type Rivals<'a> = BTreeMap<&'a str, Vec<(usize, Moment, Moment)>>;

fn rivals<'a>(history: &'a History, numbers: &[usize]) -> Rivals<'a> {
    let mut rivals = Rivals::new();
    for &number in numbers {
        let operation = &history.operations[number];
        if let Some(lock) = LockAsk::of(operation).and_then(|ask| ask.wanted()) {
            rivals.entry(lock).or_default().push((number, operation.called_us, end_us(operation)));
        }
    }
    rivals
}

/// How long, in microseconds, a server may take to find that a waiting client is gone.
const GONE_UNSEEN_US: Moment = 10_000_000;

/// Until when an operation may have stood in its lock's queue.
fn end_us(operation: &Operation) -> Moment {
    match operation.returned_us() {
        Some(returned_us) => returned_us,
        None => may_wait_till_us(operation) + GONE_UNSEEN_US,
    }
}

/// Whether another operation wanted the same lock at the same time.
fn has_rivals(rivals: &Rivals<'_>, number: usize, operation: &Operation) -> bool {
    let lock = LockAsk::of(operation).and_then(|ask| ask.wanted());
    let wanted = lock.and_then(|lock| rivals.get(lock)).map_or(&[][..], Vec::as_slice);
    wanted.iter().any(|&(rival, called_us, ended_us)| {
        rival != number && called_us <= end_us(operation) && ended_us >= operation.called_us
    })
}

/// The operations of each account.
pub(crate) fn by_account(history: &History) -> BTreeMap<&str, Vec<usize>> {
    let mut accounts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, operation) in history.operations.iter().enumerate() {
        accounts.entry(&operation.account).or_default().push(number);
    }
    accounts
}
