//! What the clients of one run share, and how they make a call.

use crate::clock::Clock;
use crate::plan::Plan;
use crate::random::Random;
use crate::recorder::{Entry, Fate, Recorder};
use crate::site::{Connection, Site};
use crate::store::Store;
use crate::wire;
use dragon_checker::history::{Endpoint, Operation, Outcome};
use dragon_waiters::Frontend;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One run's world.
#[derive(Debug)]
pub struct World {
    /// What the seed does.
    pub plan: Plan,
    /// The store.
    pub store: Arc<Store>,
    /// Its clock.
    pub clock: Arc<Clock>,
    /// Where the frontends run.
    pub sites: Vec<Site>,
    /// The history.
    pub recorder: Recorder,
    is_calm: AtomicBool,
}

/// Who asks.
#[derive(Debug)]
pub struct Caller {
    /// Its number; another one after each call that it gave up.
    pub number: u64,
    /// Its own chance.
    pub random: Random,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Call {
    /// The place of the frontend that is asked.
    pub site: usize,
    /// The account.
    pub account: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The body.
    pub body: Value,
}

impl World {
    /// A world in which all frontends run.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Arc<Self> {
        // Not on a full second, so that what is rounded shows.
        let clock = Arc::new(Clock::new(1_700_000_000_000 + Random::new(seed, "clock").below(1_000)));
        let store = Store::new(&plan, seed, Arc::clone(&clock));
        let sites: Vec<Site> = (0..plan.frontends).map(|_| Site::new(&store)).collect();
        sites.iter().for_each(Site::start);
        let (recorder, is_calm) = (Recorder::default(), AtomicBool::new(false));
        Arc::new(Self { plan, store, clock, sites, recorder, is_calm })
    }

    /// A new client.
    #[must_use]
    pub fn caller(&self, seed: u64) -> Caller {
        let number = self.recorder.new_client();
        Caller { number, random: Random::new(seed, &format!("client {number}")) }
    }

    /// Stops all trouble.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        self.store.calm();
    }

    /// Whether all trouble has stopped.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    /// A message between client and frontend.
    async fn carry(&self, random: &mut Random) {
        let ms_max = if self.is_calm() { 1 } else { self.plan.network_ms_max };
        let time = random.time(ms_max);
        if time.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(time).await;
        }
    }

    /// Writes down that a call begins.
    pub fn begin(&self, caller: &Caller, call: &Call) -> Entry {
        self.recorder.begin(Operation {
            client: caller.number,
            frontend: call.site,
            incarnation: self.sites[call.site].incarnation(),
            account: call.account.clone(),
            endpoint: call.endpoint,
            body: call.body.clone(),
            called_us: 0,
            queued_us: None,
            outcome: Outcome::Unknown { left_us: 0 },
        })
    }

    /// Makes a call.
    pub async fn call(&self, caller: &mut Caller, call: &Call) -> Fate {
        let connection = self.sites[call.site].connect();
        let entry = self.begin(caller, call);
        self.end(caller, call, entry, connection).await
    }

    /// Makes a call that has been written down, and writes down what became of it.
    pub async fn end(
        &self,
        caller: &mut Caller,
        call: &Call,
        entry: Entry,
        connection: Option<Connection>,
    ) -> Fate {
        let fate = match connection {
            Some(connection) => self.ask(&mut caller.random, call, connection).await,
            None => {
                tokio::time::sleep(Duration::from_millis(caller.random.between(1, 100))).await;
                Fate::NotApplied
            }
        };
        self.recorder.end(entry, &fate);
        if matches!(fate, Fate::Unknown) {
            caller.number = self.recorder.new_client();
        }
        fate
    }

    async fn ask(&self, random: &mut Random, call: &Call, connection: Connection) -> Fate {
        let hangs_up = !self.is_calm() && random.happens(self.plan.hang_ups);
        let patience_ms = random.below(*random.clone().pick(&[1, 100, 1_000, 10_000]));
        let patience = async {
            if hangs_up {
                tokio::time::sleep(Duration::from_millis(patience_ms)).await;
                self.store.count("hang-ups");
            } else {
                std::future::pending::<()>().await;
            }
        };
        let frontend = connection.frontend.clone();
        tokio::select! {
            biased;
            () = connection.broken() => Fate::Unknown,
            () = patience => Fate::Unknown,
            fate = self.serve(random, call, &frontend, hangs_up) => fate,
        }
    }

    /// What the server does, between the ways there and back.
    async fn serve(&self, random: &mut Random, call: &Call, frontend: &Frontend, is_leaving: bool) -> Fate {
        self.carry(random).await;
        let account = wire::account_of(&call.account);
        let fate = match call.endpoint {
            Endpoint::Db => {
                let request = Arc::new(wire::db_request(&call.account, &call.body));
                match frontend.submit(request).await {
                    Ok(delivery) if is_leaving && random.happens(500) => {
                        // The connection is found broken when the answer is ready.
                        drop(delivery);
                        Fate::Unknown
                    }
                    Ok(delivery) => wire::verdict_fate(delivery.take()),
                    Err(failure) => wire::failure_fate(failure),
                }
            }
            Endpoint::Watch => {
                let (key, seen, wait) = wire::watched(&account, &call.body);
                match frontend.watch(&key, &account, seen, wait).await {
                    Ok(watched) => wire::watched_fate(watched),
                    Err(failure) => wire::failure_fate(failure),
                }
            }
            Endpoint::List => {
                let query = wire::list_query(&account, &call.body);
                match frontend.list(&query).await {
                    Ok((page, waiting)) => wire::page_fate(query.kind, &page, &waiting),
                    Err(failure) => wire::failure_fate(failure),
                }
            }
        };
        self.carry(random).await;
        fate
    }
}
