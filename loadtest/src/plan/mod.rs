//! What a run does: a list of steps, each one scenario with its parameters against one target. No work is
//! done here.

pub mod suites;

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The reference: the requests of kv-write, to a bare Poem server that sends the body back
    Echo,
    /// Write values to keys by chance
    KvWrite,
    /// Read values of keys by chance
    KvRead,
    /// Add 1 to counters by chance
    Counter,
    /// Compare and swap under contention, until it succeeds
    Cas,
    /// One request with 1 lock, 100 keys and 50 counters
    Mixed,
    /// Writes with idempotency ids, some of them sent twice
    Idempotent,
    /// List all keys in pages of 100
    List,
    /// Take and release locks
    LockPairs,
    /// Let a crowd of waiters through one lock
    LockCrowd,
    /// Wake a crowd of watchers of one key
    WatchOne,
    /// Wake the watchers of many keys
    WatchMany,
    /// Memory of clients that wait
    IdleLongPolls,
    /// Write to a store that holds many keys already
    StoreSize,
    /// Memory and disk under hot counters and hot keys
    HotGrowth,
}

impl Scenario {
    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The server.
    CloudDragon,
    /// The bare Poem server.
    Echo,
    /// The server with its data in a database.
    #[serde(untagged)]
    OnDatabase(OnDatabase),
    /// Something else that a user could take instead.
    #[serde(untagged)]
    Peer(Peer),
}

/// Servers on one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDatabase {
    /// One that commits each request in a transaction of its own: the reference
    OneByOne,
    /// Cloud Dragon
    OneFrontend,
    /// Two frontends of Cloud Dragon, which clients take in turn
    TwoFrontends,
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// Redis, with every write synced
    Redis,
    /// etcd
    Etcd,
    /// PostgreSQL
    Postgres,
}

impl Target {
    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudDragon => "Cloud Dragon",
            Self::Echo => "Poem echo",
            Self::OnDatabase(OnDatabase::OneByOne) => "one by one",
            Self::OnDatabase(OnDatabase::OneFrontend) => "1 frontend",
            Self::OnDatabase(OnDatabase::TwoFrontends) => "2 frontends",
            Self::Peer(Peer::Redis) => "Redis",
            Self::Peer(Peer::Etcd) => "etcd",
            Self::Peer(Peer::Postgres) => "Postgres",
        }
    }
}

/// Which server a step runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The one that most steps share.
    Shared,
    /// One that is loaded with data which is only read.
    Loaded,
    /// One that is filled with so many keys.
    Stored(usize),
    /// A new one.
    New,
}

/// One scenario with its parameters, against one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub scenario: Scenario,
    /// How.
    pub parameters: Parameters,
    /// By whom.
    pub target: Target,
    /// Steps of one block follow one another closely: ratios are taken within it.
    pub block: usize,
    /// On which server.
    pub place: Place,
}

impl Step {
    /// A step that the server does, or the echo if it is the echo's.
    #[must_use]
    pub fn new(scenario: Scenario, parameters: Parameters, block: usize) -> Self {
        let target = if scenario == Scenario::Echo { Target::Echo } else { Target::CloudDragon };
        let place = suites::place(scenario, &parameters);
        Self { scenario, parameters, target, block, place }
    }

    /// The step that is done by servers on a database. As many contend for a lock at each of two frontends as
    /// at a single one: what is asked is whether they share it.
    #[must_use]
    pub fn on_database(scenario: Scenario, mut parameters: Parameters, block: usize, on: OnDatabase) -> Self {
        if (scenario, on) == (Scenario::LockPairs, OnDatabase::TwoFrontends) {
            parameters.connections *= 2;
        }
        Self { target: Target::OnDatabase(on), ..Self::new(scenario, parameters, block) }
    }
}

/// When the next unit of work begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// When the client's last one is done.
    Closed,
    /// At a rate for all clients together, whether the server keeps up or not.
    Open {
        /// The rate.
        per_s: f64,
    },
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After a time.
    Time(Duration),
    /// After so many units.
    Units(u64),
}

/// The settings of a scenario. One that has no use for a setting says so in the README.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// Simulated clients, each with a connection of its own: writers, contenders, waiters, all watchers.
    pub connections: usize,
    /// Accounts (to a peer: a part of the key); each request is for one of them by chance.
    pub accounts: usize,
    /// Keys (or counters, or locks) in each account; each request is for one of them by chance.
    pub keys: usize,
    /// Size of a value, its quotes included.
    pub value_bytes: usize,
    /// How often something that happens at once is repeated: the wakes of watchers.
    pub wakes: usize,
    /// A round trip added to each unit, half of it before and half of it after.
    #[serde(rename = "rtt_s", serialize_with = "seconds")]
    pub rtt: Duration,
    /// Closed or open loop.
    #[serde(rename = "rate_per_s", serialize_with = "rate")]
    pub pace: Pace,
    /// Time before anything counts.
    #[serde(rename = "warm_up_s", serialize_with = "seconds")]
    pub warm_up: Duration,
    /// What counts.
    #[serde(serialize_with = "length")]
    pub length: Length,
}

impl Scenario {
    /// Whether the size of a value makes a difference.
    #[must_use]
    pub fn has_values(self) -> bool {
        match self {
            Self::Echo
            | Self::KvWrite
            | Self::KvRead
            | Self::Mixed
            | Self::Idempotent
            | Self::List
            | Self::StoreSize
            | Self::HotGrowth => true,
            Self::Counter
            | Self::Cas
            | Self::LockPairs
            | Self::LockCrowd
            | Self::WatchOne
            | Self::WatchMany
            | Self::IdleLongPolls => false,
        }
    }

    /// Whether it is one of those where all happens at once, and a rate says nothing.
    #[must_use]
    pub fn is_at_once(self) -> bool {
        matches!(self, Self::WatchOne | Self::WatchMany | Self::IdleLongPolls)
    }
}

impl Step {
    /// What a table row says of the parameters.
    #[must_use]
    pub fn label(&self) -> String {
        self.parameters.label(self.scenario.has_values())
    }
}

impl Parameters {
    fn label(&self, has_values: bool) -> String {
        let mut label = format!("{} × {}", grouped(self.accounts as f64), grouped(self.keys as f64));
        if !has_values {
            // Nothing to say.
        } else if self.value_bytes >= 1024 && self.value_bytes.is_multiple_of(1024) {
            label += &format!(", {} KiB", self.value_bytes / 1024);
        } else {
            label += &format!(", {} B", self.value_bytes);
        }
        if !self.rtt.is_zero() {
            label += &format!(", {} ms round trip", self.rtt.as_secs_f64() * 1e3);
        }
        if let Pace::Open { per_s } = self.pace {
            label += &format!(", open loop at {}/s", grouped(per_s));
        }
        if let Length::Units(units) = self.length {
            label += &format!(", {} units", grouped(units as f64));
        }
        label
    }
}

/// A whole number with commas between the thousands.
#[must_use]
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let first = digits.len() % 3;
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            connections: 64,
            accounts: 1,
            keys: 1,
            value_bytes: 64,
            wakes: 5,
            rtt: Duration::ZERO,
            pace: Pace::Closed,
            warm_up: Duration::from_millis(500),
            length: Length::Time(Duration::from_secs(3)),
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn rate<S: Serializer>(pace: &Pace, serializer: S) -> Result<S::Ok, S::Error> {
    match pace {
        Pace::Closed => serializer.serialize_none(),
        Pace::Open { per_s } => serializer.serialize_some(per_s),
    }
}

fn length<S: Serializer>(length: &Length, serializer: S) -> Result<S::Ok, S::Error> {
    match length {
        Length::Time(time) => serializer.collect_str(&format_args!("{} s", time.as_secs_f64())),
        Length::Units(units) => serializer.collect_str(&format_args!("{units} units")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let parameters = Parameters {
            accounts: 1_000,
            keys: 1_000_000,
            value_bytes: 10_240,
            rtt: Duration::from_millis(20),
            pace: Pace::Open { per_s: 4_000.0 },
            length: Length::Units(7),
            ..Parameters::default()
        };
        let expected = "1,000 × 1,000,000, 10 KiB, 20 ms round trip, open loop at 4,000/s, 7 units";
        assert_eq!(parameters.label(true), expected);
        assert_eq!(Parameters::default().label(true), "1 × 1, 64 B");
        assert_eq!(Parameters::default().label(false), "1 × 1");
        assert_eq!(
            [1.0, 12.0, 123.0, 1234.0, 123_456.0].map(grouped),
            ["1", "12", "123", "1,234", "123,456"]
        );
    }
}
