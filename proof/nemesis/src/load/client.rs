//! A client: it asks one thing at a time, and has recorded what it asked and was told.

use super::exchange::{Broken, Connection, Reply};
use super::recorder::{Asked, Recorder};
use super::verdict::{Verdict, judge};
use crate::random::Random;
use crate::reach::Frontend;
use dragon_checker::history::{Endpoint, Moment, Outcome};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a client waits for an answer, beyond what the request itself has to wait for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// How often, of a hundred failures, a client goes to the next frontend.
const WANDER_PERCENT: usize = 50;

/// Makes clients of one account. Clones share all but their clients.
#[derive(Clone, Debug)]
pub struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    frontends: Vec<Frontend>,
    account: String,
    recorder: Recorder,
    seed: AtomicU64,
}

/// A client. After an operation of unknown fate it goes on under another number, on another connection.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    number: u64,
    /// Whether its last operation is of unknown fate, or was dropped under way.
    is_spent: bool,
    /// Whether its last operation failed: the next waits a little.
    has_failed: bool,
    at: usize,
    stays: bool,
    connection: Option<Connection>,
    random: Random,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It was answered.
    Answered {
        /// The status: 200, 204 or 409.
        status: u16,
        /// The body; null where there was none.
        body: Value,
        /// When it was there.
        returned_us: Moment,
    },
    /// Nothing of it was applied, and nothing will be.
    NotApplied,
    /// It may have been applied, and may still be.
    Unknown,
}

impl Told {
    /// The body of its 200, if that was the answer.
    #[must_use]
    pub fn applied(&self) -> Option<&Value> {
        match self {
            Self::Answered { status: 200, body, .. } => Some(body),
            _ => None,
        }
    }

    /// The body of its 409, if that was the answer.
    #[must_use]
    pub fn refused(&self) -> Option<&Value> {
        match self {
            Self::Answered { status: 409, body, .. } => Some(body),
            _ => None,
        }
    }

    /// Whether it was refused with this code.
    #[must_use]
    pub fn is_refused(&self, code: &str) -> bool {
        self.refused().is_some_and(|body| body["Code"] == code)
    }

    /// Whether there was an answer at all.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

impl Clients {
    /// Clients of this account at these frontends, of which there is at least one. The seed says which way each goes.
    ///
    /// # Panics
    /// Where there is no frontend.
    #[must_use]
    pub fn new(frontends: Vec<Frontend>, account: String, recorder: Recorder, seed: u64) -> Self {
        assert!(!frontends.is_empty(), "clients need a frontend");
        Self(Arc::new(Shared { frontends, account, recorder, seed: AtomicU64::new(seed) }))
    }

    /// A client that begins at any frontend and goes to others when requests fail.
    #[must_use]
    pub fn wandering(&self) -> Client {
        let mut random = self.random();
        let at = random.below(self.0.frontends.len());
        self.client(at, false, random)
    }

    /// A client that stays at one frontend, counted from 0.
    ///
    /// # Panics
    /// Where there is no such frontend.
    #[must_use]
    pub fn staying(&self, at: usize) -> Client {
        assert!(at < self.0.frontends.len(), "there is no frontend {at}");
        self.client(at, true, self.random())
    }

    /// The frontends.
    #[must_use]
    pub fn frontends(&self) -> &[Frontend] {
        &self.0.frontends
    }

    /// Where the clients' operations are recorded.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    fn client(&self, at: usize, stays: bool, random: Random) -> Client {
        let number = self.0.recorder.new_client();
        let shared = Arc::clone(&self.0);
        Client { shared, number, is_spent: false, has_failed: false, at, stays, connection: None, random }
    }

    fn random(&self) -> Random {
        Random::new(self.0.seed.fetch_add(1, Ordering::Relaxed))
    }
}

impl Client {
    /// The number under which the next operation will be recorded, or the one that is under way is.
    pub fn number(&mut self) -> u64 {
        if std::mem::take(&mut self.is_spent) {
            self.number = self.shared.recorder.new_client();
            self.connection = None;
        }
        self.number
    }

    /// The frontend that it is at, counted from 0.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Asks, and waits as long as the request's own `LockWait` or `Wait` allows, and some seconds.
    pub async fn ask(&mut self, endpoint: Endpoint, body: Value) -> Told {
        let own_wait = if endpoint == Endpoint::Watch { &body["Wait"] } else { &body["LockWait"] };
        let patience = Duration::from_secs(own_wait.as_u64().unwrap_or_default()) + PATIENCE;
        self.ask_for(endpoint, body, patience).await
    }

    /// Asks, and hangs up after so long. Where this is dropped under way, it has hung up then.
    pub async fn ask_for(&mut self, endpoint: Endpoint, body: Value, patience: Duration) -> Told {
        if self.has_failed {
            tokio::time::sleep(Duration::from_millis(self.random.within(20..=100))).await;
        }
        let frontend = &self.shared.frontends[self.at];
        let (address, incarnation) = (frontend.address, frontend.incarnation());
        let (account, text) = (self.shared.account.clone(), body.to_string());
        let path = path(endpoint, &account);
        let client = self.number();
        let asked = Asked { client, frontend: self.at, incarnation, account, endpoint, body };
        let recorder = self.shared.recorder.clone();
        self.is_spent = true;
        let pending = recorder.begin(asked);

        let connection = match self.idle_connection(&path) {
            Some(connection) => Ok(connection),
            None => {
                match tokio::time::timeout(CONNECT_TIME_MAX, Connection::open(address, &recorder)).await {
                    Ok(Ok(connection)) => Ok(connection),
                    Ok(Err(_)) | Err(_) => Err(()),
                }
            }
        };
        let Ok(mut connection) = connection else {
            pending.end(Outcome::NotApplied { returned_us: recorder.now_us() });
            return self.after(Told::NotApplied);
        };
        let told = match tokio::time::timeout(patience, connection.post(&path, &text, &recorder)).await {
            Ok(Ok(reply)) => {
                self.connection = (!reply.closes).then_some(connection);
                self.understand(endpoint, &text, &reply)
            }
            Ok(Err(Broken::Malformed(what))) => {
                recorder.break_promise(format!("{path} {text} was answered with {what}"));
                Told::Unknown
            }
            Ok(Err(Broken::Cut)) | Err(_) => Told::Unknown,
        };
        let now_us = recorder.now_us();
        pending.end(match &told {
            Told::Answered { status, body, returned_us } => {
                Outcome::Answered { returned_us: *returned_us, status: *status, body: body.clone() }
            }
            Told::NotApplied => Outcome::NotApplied { returned_us: now_us },
            Told::Unknown => Outcome::Unknown { left_us: now_us },
        });
        self.after(told)
    }

    /// The connection that it has, if that can take another request.
    fn idle_connection(&mut self, path: &str) -> Option<Connection> {
        let connection = self.connection.take()?;
        match connection.is_idle() {
            Ok(is_idle) => is_idle.then_some(connection),
            Err(Broken::Malformed(what)) => {
                self.shared.recorder.break_promise(format!("before {path} there were {what}"));
                None
            }
            Err(Broken::Cut) => None,
        }
    }

    fn understand(&self, endpoint: Endpoint, text: &str, reply: &Reply) -> Told {
        let (status, returned_us) = (reply.status, reply.returned_us);
        match judge(endpoint, reply) {
            Ok(Verdict::Answered(body)) => Told::Answered { status, body, returned_us },
            Ok(Verdict::NotApplied) => Told::NotApplied,
            Ok(Verdict::Unknown) => Told::Unknown,
            Err(what) => {
                let path = path(endpoint, &self.shared.account);
                self.shared.recorder.break_promise(format!("{path} {text} was answered {what}"));
                Told::Unknown
            }
        }
    }

    /// What it does after having been told that.
    fn after(&mut self, told: Told) -> Told {
        self.is_spent = told == Told::Unknown;
        self.has_failed = !told.is_answered();
        if self.has_failed && !self.stays && self.random.chance(WANDER_PERCENT) {
            self.at = (self.at + 1) % self.shared.frontends.len();
            self.connection = None;
        }
        told
    }
}

fn path(endpoint: Endpoint, account: &str) -> String {
    let name = match endpoint {
        Endpoint::Db => "db",
        Endpoint::Watch => "watch",
        Endpoint::List => "list",
    };
    format!("/{name}/{account}")
}
