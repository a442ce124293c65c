//! What the scenarios ask of a peer. Each method is one thing that a user of the peer would do the same way,
//! and returns when the peer has answered that it is done.

use crate::peers::watch::Notices;

use crate::process::{Process, Start};
use anyhow::Result;
use std::rc::Rc;
use tokio::task::JoinSet;

/// A peer's server, started for this run.
pub trait Peer: Sized + 'static {
    /// What it needs on this machine; the last one is the server.
    const PROGRAMS: &[&str];
    /// Debian's package that has them.
    const PACKAGE: &str;
    /// A connection of a worker's own, or what its users have in the place of one.
    type Client: Client;

    /// Starts it with an empty store in a new folder.
    ///
    /// # Errors
    /// When it does not come up.
    async fn start(start: &Start) -> Result<Self>;

    /// Its process.
    fn process(&self) -> &Process;

    /// So many connections.
    ///
    /// # Errors
    /// When it does not accept them.
    async fn connect(&self, count: usize) -> Result<Vec<Self::Client>>;

    /// So many watchers, each of the key of its number, counted round and round, and each notes what it is
    /// told. They are there when this returns, and
    /// gone when what it returns is dropped.
    ///
    /// # Errors
    /// When it does not accept them.
    async fn watch(
        &self,
        keys: &[String],
        watchers: usize,
        notices: &Rc<Notices>,
    ) -> Result<JoinSet<Result<()>>>;
}

/// What a key held when it was last seen, for the next compare-and-swap.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its version, where the peer has one; 0 for a key that is not there.
    pub version: i64,
    /// Its value; empty for a key that is not there.
    pub value: Vec<u8>,
}

/// The request of the mixed scenario.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The lock to be taken; if another one holds it, everything is refused.
    pub take: String,
    /// The lock to be released; if the caller does not hold it, everything is refused.
    pub release: String,
    /// Whether there is no lock to be released yet.
    pub first: bool,
    /// The keys to be set, all to the same value.
    pub keys: Vec<String>,
    /// The value.
    pub value: Vec<u8>,
    /// The counters to which 1 is added.
    pub counters: Vec<String>,
    /// What each counter is afterwards.
    pub sum: u64,
}

/// A connection.
pub trait Client: 'static {
    /// A value as it came.
    type Value: AsRef<[u8]>;

    /// Sets a key.
    ///
    /// # Errors
    /// When that is refused.
    async fn put(&mut self, key: &str, value: &[u8]) -> Result<()>;

    /// Sets many keys to the same value, to prepare a run.
    ///
    /// # Errors
    /// When that is refused.
    async fn fill(&mut self, keys: &[String], value: &[u8]) -> Result<()>;

    /// Reads a key.
    ///
    /// # Errors
    /// When that is refused.
    async fn get(&mut self, key: &str) -> Result<Option<Self::Value>>;

    /// How often a key was written, where the peer knows.
    ///
    /// # Errors
    /// When that is refused.
    async fn writes(&mut self, key: &str) -> Result<Option<u64>>;

    /// Adds 1 to a counter and returns the sum.
    ///
    /// # Errors
    /// When that is refused.
    async fn add(&mut self, counter: &str) -> Result<u64>;

    /// Reads a counter.
    ///
    /// # Errors
    /// When that is refused.
    async fn sum(&mut self, counter: &str) -> Result<u64>;

    /// Reads a key for a compare-and-swap.
    ///
    /// # Errors
    /// When that is refused.
    async fn see(&mut self, key: &str, seen: &mut Seen) -> Result<()>;

    /// Sets a key if it is as it was seen, and tells whether it was. Either way `seen` is then how it is
    /// now.
    ///
    /// # Errors
    /// When that is refused.
    async fn swap(&mut self, key: &str, seen: &mut Seen, value: &[u8]) -> Result<bool>;

    /// Does all of it at once or nothing.
    ///
    /// # Errors
    /// When that is refused, or an answer is not right.
    async fn mixed(&mut self, request: &Mixed) -> Result<()>;

    /// Takes a lock, waiting for it as long as it takes.
    ///
    /// # Errors
    /// When that is refused.
    async fn lock(&mut self, lock: &str) -> Result<()>;

    /// Releases a lock that it holds.
    ///
    /// # Errors
    /// When it did not hold it any more.
    async fn unlock(&mut self, lock: &str) -> Result<()>;

    /// Sets keys to the same value and tells their watchers, all as one.
    ///
    /// # Errors
    /// When that is refused.
    async fn publish(&mut self, keys: &[String], value: &[u8]) -> Result<()>;
}
