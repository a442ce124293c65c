//! A mix of all workloads on one account.

use super::client::Clients;
use super::course::{Course, Tempo};
use super::recorder::Recorder;
use super::workloads::{Crew, counters, lists, locks, payments, queue, registers, watcher};
use crate::random::Random;
use crate::reach::Frontend;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

/// Longer than any wait for a lock or a change, with the client's patience and a last unlock after it.
const END_TIME_MAX: Duration = Duration::from_secs(40);
/// How many there are of each workload that there are several of.
const REGISTERS: usize = 2;
const COUNTERS: usize = 2;
const LOCKS: usize = 4;
const PAYMENTS: usize = 2;
const WATCHERS: usize = 4;

/// Clients at work on an account. One that is dropped stops at once, as if its clients had lost power.
#[derive(Debug)]
pub struct Round {
    course: Arc<Course>,
    writers: JoinSet<()>,
    watchers: JoinSet<()>,
}

impl Round {
    /// Puts a mix of all workloads on an account that nobody has used: about a dozen clients at once, spread over the
    /// frontends, of which there is at least one. What they do follows the seed, what comes of it the system.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and where there is no frontend.
    #[must_use]
    pub fn start(
        frontends: &[Frontend],
        account: &str,
        recorder: &Recorder,
        seed: u64,
        tempo: Tempo,
    ) -> Self {
        let mut random = Random::new(seed);
        let clients = Clients::new(frontends.to_vec(), account.to_owned(), recorder.clone(), random.number());
        let course = Arc::new(Course::new(tempo));
        let (mut writers, mut watchers) = (JoinSet::new(), JoinSet::new());
        let mut crew = || Crew {
            clients: clients.clone(),
            course: Arc::clone(&course),
            random: Random::new(random.number()),
        };
        for _ in 0..REGISTERS {
            writers.spawn(registers(crew()));
        }
        for _ in 0..COUNTERS {
            writers.spawn(counters(crew()));
        }
        for _ in 0..LOCKS {
            writers.spawn(locks(crew()));
        }
        for _ in 0..PAYMENTS {
            writers.spawn(payments(crew()));
        }
        writers.spawn(queue(crew()));
        writers.spawn(lists(crew()));
        for number in 0..WATCHERS {
            // The first two keys have two watchers each.
            watchers.spawn(watcher(crew(), number / 2));
        }
        Self { course, writers, watchers }
    }

    /// Whether its clients have asked as much as the tempo lets them: there is no more to come from it.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        !self.course.goes_on()
    }

    /// Ends it: tells the writers to end and waits for what they have under way, at most 40 seconds; then lets the
    /// watchers make their last calls, with the same bound. Whoever takes longer is cut off, and what it asked is
    /// unknown.
    pub async fn stop(mut self) {
        self.course.stop_writers();
        end(&mut self.writers).await;
        self.course.stop_watchers();
        end(&mut self.watchers).await;
    }
}

async fn end(tasks: &mut JoinSet<()>) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            heed(ended);
        }
    };
    if tokio::time::timeout(END_TIME_MAX, all).await.is_err() {
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            heed(ended);
        }
    }
}

/// A panic of a client is the round's, and a client that was cut off is none.
fn heed(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
