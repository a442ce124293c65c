//! The suites: which steps they have, in which order, and how long each takes.

use crate::plan::{Length, OnDatabase, Pace, Parameters, Peer, Place, Scenario, Step, Target};
use clap::ValueEnum as _;
use std::time::Duration;

/// Collects steps; those that peers do too are followed by theirs, so that what disturbs the machine
/// disturbs them alike.
struct Collector<'a> {
    steps: Vec<Step>,
    peers: &'a [Peer],
    /// The number of the next block. Steps of a block are compared with one another.
    block: usize,
    /// Warm-up and length of most steps.
    basis: Parameters,
}

/// Accounts and keys in each.
type Shape = (usize, usize);

const ONE: Shape = (1, 1);
const KEYS: Shape = (1, 1_000);
const ACCOUNTS: Shape = (1_000, 1);
const BOTH: Shape = (1_000, 1_000);

impl<'a> Collector<'a> {
    fn new(peers: &'a [Peer], warm_up_s: f64, length_s: f64) -> Self {
        let basis = Parameters {
            warm_up: Duration::from_secs_f64(warm_up_s),
            length: Length::Time(Duration::from_secs_f64(length_s)),
            ..Parameters::default()
        };
        Self { steps: Vec::new(), peers, block: 0, basis }
    }

    fn at(&self, (accounts, keys): Shape, connections: usize) -> Parameters {
        Parameters { connections, accounts, keys, ..self.basis.clone() }
    }

    fn add(&mut self, scenario: Scenario, parameters: Parameters) {
        self.steps.push(Step::new(scenario, parameters, self.block));
    }

    fn add_with_peers(&mut self, scenario: Scenario, parameters: Parameters) {
        self.add(scenario, parameters.clone());
        for peer in self.peers {
            let step = Step::new(scenario, parameters.clone(), self.block);
            self.steps.push(Step { target: Target::Peer(*peer), ..step });
        }
    }

    /// On each of the servers on a database, as a block of their own: they are compared with one another.
    fn add_on_database(&mut self, scenario: Scenario, parameters: &Parameters) {
        for on in OnDatabase::value_variants() {
            self.steps.push(Step::on_database(scenario, parameters.clone(), self.block, *on));
        }
        self.block += 1;
    }

    /// Writes and counters of each shape beside the echo, at each number of connections, in rounds.
    fn add_rounds(&mut self, rounds: usize, connections: &[usize]) {
        for round in 0..rounds {
            for &connections in connections {
                self.add(Scenario::Echo, self.at(ONE, connections));
                for shape in [ONE, KEYS, BOTH] {
                    for scenario in [Scenario::KvWrite, Scenario::Counter] {
                        let parameters = self.at(shape, connections);
                        // One client after another is not what they are compared at, nor a million keys; and
                        // one round is enough at many, where they take long to begin.
                        if connections > 1 && shape != BOTH && (connections < 400 || round == 0) {
                            self.add_with_peers(scenario, parameters);
                        } else {
                            self.add(scenario, parameters);
                        }
                    }
                }
            }
            self.block += 1;
        }
    }

    /// Larger values, and the shapes that the rounds leave out.
    fn add_sizes(&mut self, connections: usize, shapes: &[Shape]) {
        self.add(Scenario::Echo, self.at(ONE, connections));
        self.add(Scenario::KvWrite, self.at(ACCOUNTS, connections));
        self.add(Scenario::Counter, self.at(ACCOUNTS, connections));
        self.block += 1;
        for value_bytes in [1 << 10, 10 << 10] {
            self.add(Scenario::Echo, Parameters { value_bytes, ..self.at(ONE, connections) });
            for &shape in shapes {
                let parameters = Parameters { value_bytes, ..self.at(shape, connections) };
                if shape == KEYS {
                    self.add_with_peers(Scenario::KvWrite, parameters);
                } else {
                    self.add(Scenario::KvWrite, parameters);
                }
            }
            self.block += 1;
        }
    }

    /// The other requests, at one number of connections each.
    fn add_requests(&mut self, shapes: &[Shape], list_keys: usize) {
        for &shape in shapes {
            let parameters = self.at(shape, 64);
            if shape == KEYS {
                self.add_with_peers(Scenario::KvRead, parameters);
            } else {
                self.add(Scenario::KvRead, parameters);
            }
        }
        self.add(Scenario::List, self.at((1, list_keys), 16));
        self.add_with_peers(Scenario::Cas, self.at(ONE, 16));
        self.add_with_peers(Scenario::Cas, self.at(KEYS, 64));
        self.add_with_peers(Scenario::Mixed, self.at(KEYS, 64));
        self.add(Scenario::Idempotent, self.at(KEYS, 64));
        self.add(Scenario::Idempotent, self.at(KEYS, 400));
        self.add(Scenario::KvWrite, Parameters { pace: Pace::Open { per_s: 4_000.0 }, ..self.at(KEYS, 400) });
        let rtt = Duration::from_millis(20);
        self.add(Scenario::KvWrite, Parameters { rtt, ..self.at(KEYS, 400) });
        self.block += 1;
    }

    fn add_locks(&mut self, rounds: usize, contenders: usize) {
        for _ in 0..rounds {
            self.add_with_peers(Scenario::LockPairs, self.at(ONE, contenders));
            self.block += 1;
        }
        self.add_with_peers(Scenario::LockPairs, self.at(KEYS, contenders));
        self.add(Scenario::LockPairs, self.at(BOTH, contenders));
        self.block += 1;
    }

    fn add_crowds(&mut self, wakes: usize, crowds: &[usize], waiters: usize) {
        for &watchers in crowds {
            let parameters = Parameters { wakes, ..self.at(ONE, watchers) };
            if watchers >= 1_000 {
                self.add_with_peers(Scenario::WatchOne, parameters);
            } else {
                self.add(Scenario::WatchOne, parameters);
            }
        }
        let many = (waiters / 10).clamp(5, 1_000);
        self.add_with_peers(Scenario::WatchMany, Parameters { wakes, ..self.at((1, many), many * 5) });
        self.add(Scenario::LockCrowd, self.at(ONE, waiters));
        self.add(Scenario::IdleLongPolls, self.at(ONE, waiters));
        self.block += 1;
    }

    fn add_growth(&mut self, rounds: usize, sizes: &[usize], growth_s: u64) {
        for _ in 0..rounds {
            for &keys in sizes {
                self.add(Scenario::StoreSize, self.at((1, keys), 64));
            }
            self.block += 1;
        }
        let length = Length::Time(Duration::from_secs(growth_s));
        self.add(Scenario::HotGrowth, Parameters { length, ..self.at((1, 10), 64) });
        self.block += 1;
    }
}

/// Everything, in under ten minutes on two cores.
#[must_use]
pub fn standard(peers: &[Peer]) -> Vec<Step> {
    let mut all = Collector::new(peers, 0.3, 1.5);
    all.add_rounds(3, &[1, 64, 400]);
    all.add_sizes(64, &[ONE, KEYS, ACCOUNTS, BOTH]);
    all.add_requests(&[ONE, KEYS, ACCOUNTS, BOTH], 10_000);
    all.add_locks(3, 50);
    all.add_crowds(5, &[1, 100, 1_000, 10_000], 10_000);
    all.add_growth(3, &[1_000, 1_000_000], 20);
    all.steps
}

/// A look at everything in about a minute. Its figures are rough.
#[must_use]
pub fn quick(peers: &[Peer]) -> Vec<Step> {
    let mut all = Collector::new(peers, 0.1, 0.4);
    all.add_rounds(1, &[64]);
    all.add_sizes(64, &[KEYS]);
    all.add_requests(&[ONE, KEYS], 10_000);
    all.add_locks(1, 50);
    all.add_crowds(2, &[1, 1_000], 1_000);
    all.add_growth(1, &[1_000, 20_000], 3);
    all.steps
}

/// The store on a database beside a transaction for each request, and two frontends beside one.
#[must_use]
pub fn database() -> Vec<Step> {
    let mut all = Collector::new(&[], 1.0, 4.0);
    for (scenario, shape, connections) in [
        (Scenario::KvWrite, KEYS, 400),
        (Scenario::KvWrite, KEYS, 64),
        (Scenario::KvWrite, ACCOUNTS, 400),
        (Scenario::Counter, ONE, 400),
        (Scenario::Counter, KEYS, 400),
        (Scenario::KvRead, KEYS, 64),
        (Scenario::Mixed, KEYS, 16),
        (Scenario::LockPairs, ONE, 50),
        (Scenario::WatchOne, ONE, 1),
        (Scenario::WatchOne, ONE, 1_000),
    ] {
        let wakes = if connections == 1 { 50 } else { 5 };
        all.add_on_database(scenario, &Parameters { wakes, ..all.at(shape, connections) });
    }
    all.steps
}

/// How a scenario runs when it is asked for alone and nothing else is said.
#[must_use]
pub fn alone(scenario: Scenario) -> Parameters {
    let basis = Parameters { keys: 1_000, ..Parameters::default() };
    let one = Parameters { keys: 1, ..basis.clone() };
    match scenario {
        Scenario::Echo => one,
        Scenario::KvWrite | Scenario::KvRead | Scenario::Counter | Scenario::Mixed | Scenario::Idempotent => {
            basis
        }
        Scenario::Cas => Parameters { connections: 16, ..one },
        Scenario::List => Parameters { connections: 16, keys: 10_000, ..basis },
        Scenario::LockPairs => Parameters { connections: 50, ..one },
        Scenario::LockCrowd | Scenario::WatchOne | Scenario::IdleLongPolls => {
            Parameters { connections: 10_000, ..one }
        }
        Scenario::WatchMany => Parameters { connections: 5_000, ..basis },
        Scenario::StoreSize => Parameters { keys: 1_000_000, ..basis },
        Scenario::HotGrowth => {
            Parameters { keys: 10, length: Length::Time(Duration::from_secs(20)), ..basis }
        }
    }
}

/// Where a scenario runs: on a server that others have used, or on one that nothing else disturbs.
#[must_use]
pub fn place(scenario: Scenario, parameters: &Parameters) -> Place {
    match scenario {
        Scenario::KvRead | Scenario::List => Place::Loaded,
        Scenario::StoreSize => Place::Stored(parameters.accounts * parameters.keys),
        Scenario::LockCrowd | Scenario::WatchOne | Scenario::WatchMany | Scenario::HotGrowth => Place::New,
        Scenario::Echo
        | Scenario::KvWrite
        | Scenario::Counter
        | Scenario::Cas
        | Scenario::Mixed
        | Scenario::Idempotent
        | Scenario::LockPairs
        | Scenario::IdleLongPolls => Place::Shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time that the steps themselves take: what is set up and checked comes on top.
    fn seconds(steps: &[Step]) -> f64 {
        let length = |step: &Step| match step.parameters.length {
            Length::Time(length) => (length + step.parameters.warm_up).as_secs_f64(),
            Length::Units(_) => 0.0,
        };
        steps.iter().map(length).sum()
    }

    #[test]
    fn suites_have_every_scenario_and_end() {
        let peers = [Peer::Redis, Peer::Etcd, Peer::Postgres];
        for (suite, seconds_max) in [(standard as fn(&[Peer]) -> Vec<Step>, 240.0), (quick, 30.0)] {
            let steps = suite(&[]);
            for scenario in Scenario::value_variants() {
                assert!(steps.iter().any(|step| step.scenario == *scenario), "{scenario:?}");
            }
            assert!(seconds(&steps) < seconds_max, "{}", seconds(&steps));
            assert!(seconds(&suite(&peers)) < 2.5 * seconds_max, "{}", seconds(&suite(&peers)));
        }
    }

    #[test]
    fn what_is_on_database_is_compared() {
        let steps = database();
        assert!(seconds(&steps) < 240.0, "{}", seconds(&steps));
        for block in steps.chunk_by(|one, other| one.block == other.block) {
            let on: Vec<Target> = block.iter().map(|step| step.target).collect();
            let all: Vec<Target> =
                OnDatabase::value_variants().iter().map(|on| Target::OnDatabase(*on)).collect();
            assert_eq!(on, all);
        }
        let contenders = |step: &&Step| step.scenario == Scenario::LockPairs;
        let contenders: Vec<usize> =
            steps.iter().filter(contenders).map(|step| step.parameters.connections).collect();
        assert_eq!(contenders, [50, 50, 100], "as many at each frontend");
    }

    #[test]
    fn ratios_have_their_echo() {
        for step in standard(&[]).iter().filter(|step| step.scenario == Scenario::Counter) {
            let echoes = |other: &&Step| {
                other.scenario == Scenario::Echo
                    && other.block == step.block
                    && other.parameters.connections == step.parameters.connections
            };
            assert_eq!(standard(&[]).iter().filter(echoes).count(), 1, "{step:?}");
        }
    }
}
