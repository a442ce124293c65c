//! What clients do. Each workload works on one account until its course ends; several share an account, so that their
//! requests interleave in one sequence of revisions.

mod counters;
mod lists;
mod locks;
mod payments;
mod queue;
mod registers;
mod watchers;

pub use counters::counters;
pub use lists::lists;
pub use locks::locks;
pub use payments::payments;
pub use queue::queue;
pub use registers::registers;
pub use watchers::watcher;

use super::client::{Client, Clients, Told};
use super::course::Course;
use crate::random::Random;
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::sync::Arc;

/// The keys whose values registers set and watchers follow: `r/0` and so on.
const REGISTERS: usize = 5;
/// How often a request whose fate is unknown is sent again once the course has ended.
const LAST_TRIES: usize = 5;

/// What a workload is given: its clients, its course, and its own chance.
#[derive(Clone, Debug)]
pub struct Crew {
    /// The clients it may use.
    pub clients: Clients,
    /// How fast it goes, and when it ends.
    pub course: Arc<Course>,
    /// What decides what it does.
    pub random: Random,
}

/// A client in the tempo of its course.
struct Worker {
    client: Client,
    course: Arc<Course>,
    random: Random,
}

impl Crew {
    /// A worker whose client begins anywhere.
    fn worker(self) -> Worker {
        let client = self.clients.wandering();
        Worker { client, course: self.course, random: self.random }
    }
}

impl Worker {
    async fn db(&mut self, body: Value) -> Told {
        self.course.beat().await;
        self.client.ask(Endpoint::Db, body).await
    }

    async fn list(&mut self, body: Value) -> Told {
        self.course.beat().await;
        self.client.ask(Endpoint::List, body).await
    }

    /// Sends a request that has idempotency ids until its result is known: what it answered, or its refusal. `None`
    /// where the course ended before that, or where the ids are another request's.
    async fn settle(&mut self, body: &Value) -> Option<Result<Value, Value>> {
        let mut last_tries = LAST_TRIES;
        loop {
            let told = self.db(body.clone()).await;
            if let Some(answer) = told.applied() {
                return Some(Ok(answer.clone()));
            }
            if let Some(refusal) = told.refused() {
                if refusal["Code"] != "duplicate_request" {
                    return Some(Err(refusal.clone()));
                }
                let is_own = refusal["SameRequest"] == true;
                return is_own.then(|| Ok(refusal["Response"].clone()));
            }
            if !self.course.goes_on() {
                last_tries = last_tries.checked_sub(1)?;
            }
        }
    }

    /// A value that nobody has written, in one of several shapes.
    fn unique_value(&mut self) -> Value {
        let number = self.course.unique();
        match self.random.below(3) {
            0 => json!(number),
            1 => json!(format!("v{number}")),
            _ => json!({"Number": number, "By": self.client.number()}),
        }
    }
}

fn register(number: usize) -> String {
    format!("r/{number}")
}
