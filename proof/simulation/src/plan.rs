//! What one seed does: which kinds of trouble it makes, and how often. Each kind is off in about half of the
//! seeds, since trouble of one kind hides that of another.

use crate::bug::Bug;
use crate::random::Random;

/// What kind of store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Within the one frontend: batches are decided in order and synced later; a crash loses what was not.
    Embedded,
    /// A database that several frontends share: whoever commits first wins, the others decide again.
    Shared,
}

/// One seed's choices.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The store.
    pub mode: Mode,
    /// Frontends, 1 to 3.
    pub frontends: usize,
    /// Lanes of each frontend.
    pub lanes: usize,
    /// Accounts, 1 to 3.
    pub accounts: usize,
    /// Clients that do a bit of everything.
    pub clients: usize,
    /// Requests that each of them makes.
    pub requests: u64,
    /// Keys, counters and locks of each name space and account.
    pub keys: u64,
    /// Waiters that queue up one after another for a lock of their own; 0 = nobody does.
    pub queuers: usize,
    /// Longest pause of a client between two requests, in milliseconds.
    pub pause_ms_max: u64,
    /// Longest time for one step of the store, in milliseconds.
    pub delay_ms_max: u64,
    /// Longest time of a message between client and frontend, in milliseconds.
    pub network_ms_max: u64,
    /// Longest time that a wake-up is late, in milliseconds.
    pub late_ms_max: u64,
    /// After at most so many milliseconds there is a wake-up for nothing; 0 = never.
    pub spurious_ms_max: u64,
    /// Calls of the store that it refuses as busy, of a thousand.
    pub busy: u64,
    /// Calls of the store that it can't do, of a thousand.
    pub unavailable: u64,
    /// Commits whose connection breaks, or whose sync fails, of a thousand.
    pub unknown: u64,
    /// Of those, commits that can't be settled, of a thousand.
    pub unsettled: u64,
    /// Batches of which the store takes only some entries, of a thousand.
    pub partial: u64,
    /// Requests whose client hangs up, of a thousand.
    pub hang_ups: u64,
    /// What is done to the whole from time to time.
    pub nemeses: Vec<Nemesis>,
    /// The longest pause between two of these, in milliseconds.
    pub nemesis_ms_max: u64,
    /// The mistake that the store makes.
    pub bug: Option<Bug>,
}

/// Something that is done to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nemesis {
    /// A frontend dies and comes back.
    Crash,
    /// A frontend is told to go down, and is started again.
    Drain,
    /// The store can't be reached for a while.
    Outage,
    /// The store's clock is set ahead.
    JumpAhead,
    /// The store's clock is set back.
    JumpBack,
    /// Expired rows are deleted.
    Sweep,
}

impl Nemesis {
    const ALL: [Self; 6] =
        [Self::Crash, Self::Drain, Self::Outage, Self::JumpAhead, Self::JumpBack, Self::Sweep];
}

impl Plan {
    /// The plan of a seed. A bug needs a store in which it can be made, and the trouble that shows it.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed, "plan");
        let shared_by = random.between(1, 3) as usize;
        let mode = if random.happens(400) { Mode::Embedded } else { Mode::Shared };
        let mut plan = Self {
            mode,
            frontends: shared_by,
            lanes: *random.pick(&[1, 1, 2, 4]),
            accounts: *random.pick(&[1, 1, 2, 3]),
            clients: random.between(4, 10) as usize,
            requests: random.between(5, 25),
            keys: random.between(1, 4),
            queuers: if random.happens(400) { random.between(2, 5) as usize } else { 0 },
            pause_ms_max: *random.pick(&[0, 10, 100, 1_000]),
            delay_ms_max: *random.pick(&[0, 2, 20, 100, 500]),
            network_ms_max: *random.pick(&[0, 1, 20, 200]),
            late_ms_max: *random.pick(&[0, 0, 50, 500]),
            spurious_ms_max: *random.pick(&[0, 0, 300, 3_000]),
            busy: *random.pick(&[0, 0, 5, 50]),
            unavailable: *random.pick(&[0, 0, 5, 50]),
            unknown: *random.pick(&[0, 0, 20, 80]),
            unsettled: *random.pick(&[0, 100, 500]),
            partial: *random.pick(&[0, 0, 100, 500]),
            hang_ups: *random.pick(&[0, 0, 20, 80]),
            nemeses: Nemesis::ALL.into_iter().filter(|_| random.happens(400)).collect(),
            nemesis_ms_max: *random.pick(&[500, 3_000, 10_000]),
            bug,
        };
        plan.provoke(bug);
        if plan.mode == Mode::Embedded {
            (plan.frontends, plan.lanes, plan.partial) = (1, 1, 0);
            // A failed sync closes the store until it is started again.
            plan.unknown /= 5;
        }
        plan
    }

    /// Makes the trouble that shows a mistake.
    fn provoke(&mut self, bug: Option<Bug>) {
        match bug {
            None | Some(Bug::IdempotencyWithoutWrites) => {}
            Some(Bug::LostWakeup) => self.delay_ms_max = self.delay_ms_max.clamp(2, 20),
            Some(Bug::AnswerBeforeSync) => {
                self.mode = Mode::Embedded;
                self.delay_ms_max = 500;
                self.nemeses.push(Nemesis::Crash);
            }
            Some(Bug::LockOnStaleRead) => {
                self.mode = Mode::Shared;
                self.frontends = self.frontends.max(2);
                self.accounts = 1;
                self.delay_ms_max = self.delay_ms_max.max(20);
            }
            Some(Bug::BlindRetry) => {
                self.mode = Mode::Shared;
                self.unknown = 150;
                self.unsettled = 0;
            }
        }
    }

    /// Whether the store or the network may fail at any time.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.busy + self.unavailable + self.unknown > 0
    }

    /// The accounts' names.
    #[must_use]
    pub fn account_names(&self) -> Vec<String> {
        (0..self.accounts).map(|number| format!("account-{number}")).collect()
    }
}
