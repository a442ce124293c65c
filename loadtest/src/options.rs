//! The command line.

use crate::cpus::CpuList;
use crate::plan::suites::{alone, database, quick, standard};
use crate::plan::{Length, OnDatabase, Pace, Parameters, Peer, Scenario, Step, Target};
use crate::space::VALUE_BYTES_MIN;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Puts load on a Cloud Dragon server, checks every answer, and says how fast it was.
///
/// It starts the server itself, on an empty data folder and a free port, and beside it a bare Poem server
/// that echoes the same requests. Without --scenario it runs --suite standard.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, args_override_self = true)]
pub struct Arguments {
    /// What else it can be.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of a run.
    #[command(flatten)]
    pub options: Options,
}

/// What else it can be.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Serve the echo that a run is compared with
    #[command(hide = true)]
    EchoServer,
}

/// The settings of a run.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Run a set of scenarios
    #[arg(long, value_enum, value_name = "SUITE", conflicts_with = "scenario")]
    pub suite: Option<Suite>,
    /// Run these, separated by commas, each by turns
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub scenario: Vec<Scenario>,
    /// How scenarios run.
    #[command(flatten)]
    pub load: Load,
    /// Where they run.
    #[command(flatten)]
    pub servers: Servers,
    /// What is written.
    #[command(flatten)]
    pub output: Output,
}

/// How scenarios run. Where a list is given, each of its values is run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "With --scenario")]
pub struct Load {
    /// Simulated clients: writers, contenders, waiters, all watchers
    #[arg(long, value_delimiter = ',', value_parser = up_to(20_000), value_name = "COUNTS", requires = "scenario", conflicts_with = "suite")]
    pub connections: Vec<usize>,
    /// Accounts; each request is for one of them by chance
    #[arg(long, value_delimiter = ',', value_parser = up_to(100_000), value_name = "COUNTS", requires = "scenario", conflicts_with = "suite")]
    pub accounts: Vec<usize>,
    /// Keys, counters or locks in each account; each request is for one of them by chance
    #[arg(long, value_delimiter = ',', value_parser = up_to(9_999_999), value_name = "COUNTS", requires = "scenario", conflicts_with = "suite")]
    pub keys: Vec<usize>,
    /// Size of each value, quotes included
    #[arg(long, value_delimiter = ',', value_parser = RangedU64ValueParser::<usize>::new().range(VALUE_BYTES_MIN as u64..=1 << 20), value_name = "SIZES", requires = "scenario", conflicts_with = "suite")]
    pub value_bytes: Vec<usize>,
    /// A round trip that is added to each unit of work, in milliseconds
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=10_000), value_name = "MS", requires = "scenario", conflicts_with = "suite")]
    pub rtt_ms: Option<u32>,
    /// Units a second, whether the server keeps up or not (open loop); without it each client waits for its
    /// answer (closed loop)
    #[arg(long, value_parser = rate, value_name = "UNITS/S", requires = "scenario", conflicts_with = "suite")]
    pub rate: Option<f64>,
    /// How long each step is measured
    #[arg(long, value_parser = seconds, value_name = "SECONDS", requires = "scenario", conflicts_with = "suite")]
    pub seconds: Option<f64>,
    /// How many units each step does, instead of for how long
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "UNITS", requires = "scenario", conflicts_with_all = ["seconds", "suite"])]
    pub count: Option<u64>,
    /// How long each step runs before it is measured
    #[arg(long, value_parser = seconds, value_name = "SECONDS", requires = "scenario", conflicts_with = "suite")]
    pub warm_up: Option<f64>,
    /// How often each step is run, in turns with the others; the tables show medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100), value_name = "COUNT", requires = "scenario", conflicts_with = "suite")]
    pub rounds: u16,
    /// How often watchers are woken in each step
    #[arg(long, value_parser = up_to(1_000), value_name = "COUNT", requires = "scenario", conflicts_with = "suite")]
    pub wakes: Option<usize>,
}

/// Where scenarios run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Servers")]
pub struct Servers {
    /// Run the peers too, on the same work: Redis, etcd, Postgres
    #[arg(long)]
    pub with_peers: bool,
    /// Only these peers
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES", requires = "with_peers")]
    pub peers: Vec<Peer>,
    /// The server's program; by default the `cloud-dragon` beside this program
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub server_bin: Option<PathBuf>,
    /// Where the server started here keeps its data; by default a new embedded store under --folder
    #[arg(long, value_name = "STORE", conflicts_with = "url")]
    pub store: Option<String>,
    /// Run on a database instead, a private Postgres unless --fdb-cluster-file is given: on each of these in turns
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES", requires = "scenario", conflicts_with_all = ["store", "url", "with_peers", "suite"])]
    pub on_database: Vec<OnDatabase>,
    /// A FoundationDB cluster for servers on a database, each of which gets a prefix of its own
    #[arg(long, value_name = "PATH", conflicts_with_all = ["store", "url", "with_peers"])]
    pub fdb_cluster_file: Option<PathBuf>,
    /// The program that is the reference on a database; by default the `dragon-one-by-one` beside this program
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub one_by_one_bin: Option<PathBuf>,
    /// Use the server that runs at this address of this machine
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The process of the server at --url, for its CPU time and memory
    #[arg(long, value_name = "PID", requires = "url")]
    pub pid: Option<u32>,
    /// Where data folders are made; it should be on the disk that counts
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    pub folder: PathBuf,
    /// The cores that the client may use, as in `0` or `0,2-3`
    #[arg(long, value_name = "LIST")]
    pub client_cpus: Option<CpuList>,
    /// The cores that servers started here may use
    #[arg(long, value_name = "LIST", conflicts_with = "url")]
    pub server_cpus: Option<CpuList>,
}

/// What is written, besides the tables.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report with plots to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.05 to 3600".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.1 to 1000000".into()),
    }
}

/// A set of scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Everything, in under ten minutes
    Standard,
    /// A look at everything, in about a minute
    Quick,
    /// The store on a database, with one frontend and with two, beside a transaction for each request
    Database,
}

impl Options {
    /// The steps that are asked for.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let peers = self.servers.chosen_peers();
        if !self.scenario.is_empty() {
            return self.single_steps(&peers);
        }
        match self.suite.unwrap_or(Suite::Standard) {
            Suite::Standard => standard(&peers),
            Suite::Quick => quick(&peers),
            Suite::Database => database(),
        }
    }

    fn single_steps(&self, peers: &[Peer]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for block in 0..usize::from(self.load.rounds) {
            let mut all: Vec<(Scenario, Parameters)> = Vec::new();
            for &scenario in &self.scenario {
                for parameters in self.load.parameters(scenario) {
                    // The echo has no accounts and no keys, so some come out the same.
                    if !all.contains(&(scenario, parameters.clone())) {
                        all.push((scenario, parameters));
                    }
                }
            }
            all.sort_by_key(|(_, parameters)| (parameters.value_bytes, parameters.connections));
            for (scenario, parameters) in all {
                if !self.servers.on_database.is_empty() && scenario != Scenario::Echo {
                    let on = self.servers.on_database.iter();
                    steps.extend(on.map(|on| Step::on_database(scenario, parameters.clone(), block, *on)));
                    continue;
                }
                let step = Step::new(scenario, parameters, block);
                steps.push(step.clone());
                if scenario != Scenario::Echo {
                    let others =
                        peers.iter().map(|peer| Step { target: Target::Peer(*peer), ..step.clone() });
                    steps.extend(others);
                }
            }
        }
        steps
    }
}

impl Servers {
    fn chosen_peers(&self) -> Vec<Peer> {
        match (self.with_peers, self.peers.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => Peer::value_variants().to_vec(),
            (true, false) => self.peers.clone(),
        }
    }
}

impl Load {
    /// Every combination of what is asked for, for a scenario.
    fn parameters(&self, scenario: Scenario) -> Vec<Parameters> {
        let alone = alone(scenario);
        let one = |list: &[usize], alone: usize| if list.is_empty() { vec![alone] } else { list.to_vec() };
        let is_echo = scenario == Scenario::Echo;
        let shape = |list: &[usize], alone: usize| if is_echo { vec![1] } else { one(list, alone) };
        let mut all = Vec::new();
        for &connections in &one(&self.connections, alone.connections) {
            for &value_bytes in &one(&self.value_bytes, alone.value_bytes) {
                for &accounts in &shape(&self.accounts, alone.accounts) {
                    for &keys in &shape(&self.keys, alone.keys) {
                        let basis = self.timed(alone.clone());
                        all.push(Parameters { connections, accounts, keys, value_bytes, ..basis });
                    }
                }
            }
        }
        all
    }

    fn timed(&self, mut parameters: Parameters) -> Parameters {
        if let Some(rtt_ms) = self.rtt_ms {
            parameters.rtt = Duration::from_millis(rtt_ms.into());
        }
        if let Some(per_s) = self.rate {
            parameters.pace = Pace::Open { per_s };
        }
        if let Some(seconds) = self.seconds {
            parameters.length = Length::Time(Duration::from_secs_f64(seconds));
        }
        if let Some(count) = self.count {
            parameters.length = Length::Units(count);
        }
        if let Some(warm_up) = self.warm_up {
            parameters.warm_up = Duration::from_secs_f64(warm_up);
        }
        parameters.wakes = self.wakes.unwrap_or(parameters.wakes);
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(words: &str) -> Result<Options, clap::Error> {
        Arguments::try_parse_from(words.split(' ')).map(|arguments| arguments.options)
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        assert_eq!(parse("load").unwrap().steps(), parse("load --suite standard").unwrap().steps());
        for bad in [
            "load --scenario echo --seconds 0",
            "load --scenario echo --seconds nan",
            "load --scenario echo --connections 0",
            "load --scenario echo --value-bytes 10",
            "load --suite quick --keys 7",
            "load --suite quick --scenario echo",
            "load --scenario echo --seconds 1 --count 1",
            "load --peers redis",
            "load --pid 1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_combined_and_take_turns() {
        let words =
            "load --scenario echo,kv-write --connections 1,2 --accounts 1,3 --keys 1,5 --rounds 2 --count 9";
        let steps = parse(words).unwrap().steps();
        // At each number of connections the echo once, and four shapes of writes.
        assert_eq!(steps.len(), 2 * 2 * (1 + 4));
        let first: Vec<_> =
            steps[..5].iter().map(|step| (step.scenario, step.parameters.connections)).collect();
        assert_eq!(first[0], (Scenario::Echo, 1));
        assert!(first[1..].iter().all(|step| *step == (Scenario::KvWrite, 1)));
        assert!(steps.iter().all(|step| step.parameters.length == Length::Units(9)));
        let peers = parse("load --scenario cas --with-peers --peers etcd").unwrap().steps();
        assert_eq!(peers[1].target, Target::Peer(Peer::Etcd));
        assert_eq!(peers.len(), 2);
        let words = "load --scenario cas --on-database one-by-one,two-frontends";
        let on: Vec<Target> = parse(words).unwrap().steps().iter().map(|step| step.target).collect();
        assert_eq!(on, [OnDatabase::OneByOne, OnDatabase::TwoFrontends].map(Target::OnDatabase));
    }
}
