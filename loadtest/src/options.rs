//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Puts load on a Cloud Dragon server, checks every answer, and prints what it measured as markdown.
///
/// It starts the server itself, on an empty data folder and a free port, and beside it a bare Poem server
/// that echoes the same requests. Without --scenario everything runs.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
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
    /// Run all that docs/performance.md shows (the default)
    #[arg(long, value_enum, value_name = "SUITE", conflicts_with = "scenario")]
    pub suite: Option<Suite>,
    /// Run only these, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub scenario: Vec<Scenario>,
    /// The server's program; by default the `cloud-dragon` beside this program
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub server_bin: Option<PathBuf>,
    /// Where the server started here keeps its data; by default a new embedded store under --folder
    #[arg(long, value_name = "STORE", conflicts_with = "url")]
    pub store: Option<String>,
    /// Use the server that runs at this address of this machine
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The process of the server at --url, for its CPU time and memory
    #[arg(long, value_name = "PID", requires = "url")]
    pub pid: Option<u32>,
    /// Where data folders are made; it should be on the disk that counts
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    pub folder: PathBuf,
    /// Numbers of connections of the writes and the echo
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 400], value_parser = up_to_20_000(), value_name = "COUNT")]
    pub connections: Vec<usize>,
    /// Clients that wait in watch-wake, idle-long-polls and lock-crowd
    #[arg(long, default_value_t = 10_000, value_parser = up_to_20_000(), value_name = "COUNT")]
    pub waiters: usize,
    /// Clients that contend in lock-pairs
    #[arg(long, default_value_t = 50, value_parser = up_to_20_000(), value_name = "COUNT")]
    pub contenders: usize,
    /// How long each cell is measured
    #[arg(long, default_value_t = 3.0, value_parser = seconds, value_name = "SECONDS")]
    pub seconds: f64,
    /// How long each cell runs before that
    #[arg(long, default_value_t = 0.5, value_parser = seconds, value_name = "SECONDS")]
    pub warm_up: f64,
    /// How often each cell is measured, in turns with the others; the tables show medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100), value_name = "COUNT")]
    pub rounds: u16,
    /// How often the watchers are woken
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "COUNT")]
    pub wakes: u16,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn up_to_20_000() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=20_000)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.05 to 600".into()),
    }
}

/// A set of scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Everything
    Performance,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The reference: a bare Poem server that sends the body back
    Echo,
    /// Write 64-byte values to one key
    KvOneKey,
    /// Write 64-byte values to 1,000 keys by chance
    #[value(name = "kv-1000-keys")]
    Kv1000Keys,
    /// Add 1 to one counter
    CounterOneKey,
    /// Wake a crowd of watchers of one key
    WatchWake,
    /// Take and release one lock, with contenders
    LockPairs,
    /// Memory of clients that wait
    IdleLongPolls,
    /// Let a crowd of waiters through one lock
    LockCrowd,
}

impl Options {
    /// Whether a scenario is wanted.
    #[must_use]
    pub fn wants(&self, scenario: Scenario) -> bool {
        self.scenario.is_empty() || self.scenario.contains(&scenario)
    }

    /// How long a closed loop runs.
    #[must_use]
    pub fn timing(&self) -> crate::closed_loop::Timing {
        crate::closed_loop::Timing {
            warm_up: Duration::from_secs_f64(self.warm_up),
            measure: Duration::from_secs_f64(self.seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        let parse = |words: &str| Arguments::try_parse_from(words.split(' '));
        let all = parse("load --suite performance").unwrap().options;
        assert!(all.wants(Scenario::LockCrowd) && all.wants(Scenario::Echo));
        let some = parse("load --scenario echo,kv-1000-keys --connections 1,2").unwrap().options;
        assert!(some.wants(Scenario::Kv1000Keys) && !some.wants(Scenario::LockPairs));
        assert_eq!(some.connections, [1, 2]);
        for bad in ["load --seconds 0", "load --seconds nan", "load --connections 0", "load --pid 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
