//! The command: the whole matrix, one campaign, or a second look at a history that was kept.

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use dragon_nemesis::campaign::{Plan, Tally, arguments, matrix, read_and_check, run, table};
use dragon_nemesis::cluster::{Settings, Store};
use dragon_nemesis::faults::Fault;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};

/// Runs real Cloud Dragon processes under faults and checks what their clients were told.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every store under every fault, with a table at the end. Exits with 1 if anything was found.
    Matrix {
        /// About how long, in minutes.
        #[arg(long, default_value_t = 20.0)]
        minutes: f64,
        /// How many campaigns run side by side.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Only these stores; all that the program and the machine have when not given.
        #[arg(long = "store", value_parser = store)]
        stores: Vec<Store>,
        #[command(flatten)]
        common: Common,
    },
    /// One campaign.
    Run {
        /// memory, embedded, postgres, postgres:3 (frontends), foundationdb, foundationdb:3.
        #[arg(long, value_parser = store)]
        store: Store,
        /// About how long, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only these faults, by name, such as power-cut; all that the store can have when not given.
        #[arg(long = "fault", value_enum)]
        faults: Vec<Fault>,
        /// Whether clocks jump.
        #[arg(long)]
        clocks: bool,
        /// Whether disks fail.
        #[arg(long)]
        disks: bool,
        /// Ends with the first problem.
        #[arg(long)]
        until_problem: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Checks a history that an earlier run has kept.
    Check {
        /// The file.
        history: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The server program, `cloud-dragon`.
    #[arg(long, env = "DRAGON_NEMESIS_PROGRAM")]
    program: PathBuf,
    /// Where logs, data and bad histories go, each run in a folder of its own.
    #[arg(long, default_value = "target/nemesis")]
    folder: PathBuf,
    /// Which faults come when follows from it; what they meet does not. By the time of day when not given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let log = tracing_subscriber::fmt().with_target(false).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // Whichever way it ends, the runtime drops the campaigns, and they end their processes.
        tokio::select! {
            code = run_command(Arguments::parse().command) => code,
            _ = terminated.recv() => bail!("told to end"),
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn run_command(command: Command) -> anyhow::Result<ExitCode> {
    let (plans, jobs) = match command {
        Command::Check { history } => {
            let report = read_and_check(&history)?;
            report.violations.iter().for_each(|violation| println!("{violation}"));
            report.undecided.iter().for_each(|account| println!("account {account} could not be decided"));
            println!("{:?}", report.looked_at);
            return Ok(exit_code(report.is_clean()));
        }
        Command::Matrix { minutes, jobs, stores, common } => {
            let stores = if stores.is_empty() { present(&common.program) } else { stores };
            let duration = Duration::from_secs_f64(minutes * 60.0 * jobs as f64);
            (matrix(&stores, &common.program, &common.folder, common.seed(), duration), jobs)
        }
        Command::Run { store, seconds, faults, clocks, disks, until_problem, common } => {
            let seed = common.seed();
            let Common { program, folder, .. } = common;
            let folder = folder.join(format!("{seed}"));
            let settings =
                Settings { program, store, folder, seed, clocks, disks, arguments: arguments(store) };
            let faults = if faults.is_empty() { settings.supported() } else { faults };
            let duration = Duration::from_secs(seconds);
            (vec![Plan { name: store.to_string(), settings, faults, duration, until_problem }], 1)
        }
    };
    ensure!(!plans.is_empty(), "there is no campaign for these stores");
    let campaigns = stream::iter(plans).map(campaign);
    let tallies: Vec<Tally> = campaigns.buffered(jobs.max(1)).try_collect().await?;
    println!("\n{}", table(&tallies));
    Ok(exit_code(tallies.iter().all(Tally::is_clean)))
}

/// Runs a campaign and tells what it found. One that can't be run to its end is a problem, not the end of all.
async fn campaign(plan: Plan) -> anyhow::Result<Tally> {
    let folder = plan.settings.folder.clone();
    std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let is_empty = std::fs::read_dir(&folder)?.next().is_none();
    ensure!(
        is_empty,
        "{} is not empty: it has what an earlier run with this seed has left",
        folder.display()
    );
    println!("{} for {} s, seed {}", plan.name, plan.duration.as_secs(), plan.settings.seed);
    let mut tally = Tally::new(&plan.name, &plan.faults);
    // A task of its own: what it has to wait for must not hold up the others, nor must its panic end them.
    match tokio::spawn(async move { run(&plan).await }).await {
        Ok(Ok(ran)) => tally = ran,
        Ok(Err(error)) => tally.problems.push(format!("the campaign ended: {error:#}")),
        Err(error) => tally.problems.push(format!("the campaign ended: {error}")),
    }
    println!("{} is over after {} rounds", tally.name, tally.rounds);
    for (fault, times) in &tally.strikes {
        println!("  {times} x {fault}");
    }
    for account in &tally.undecided {
        println!("  undecided: {account}");
    }
    for problem in &tally.problems {
        println!("  PROBLEM {problem}");
    }
    Ok(tally)
}

impl Common {
    fn seed(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.seed.unwrap_or_else(now)
    }
}

fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The stores that can be run here.
fn present(program: &Path) -> Vec<Store> {
    let mut stores = vec![
        Store::Memory,
        Store::Embedded,
        Store::Postgres { frontends: 1 },
        Store::Postgres { frontends: 3 },
    ];
    if dragon_private_foundationdb::is_available() && has_foundationdb(program) {
        stores.extend([Store::FoundationDb { frontends: 1 }, Store::FoundationDb { frontends: 3 }]);
    } else {
        println!(
            "FoundationDB is left out: there is no fdbserver, or the program was built without that store"
        );
    }
    stores
}

/// Whether the program was built with it: it refuses the address of a store that it does not have, and else a place to
/// listen at that is none.
fn has_foundationdb(program: &Path) -> bool {
    let serve = ["serve", "--store", "fdb:fdb.cluster", "--listen", "nowhere"];
    let refusal = std::process::Command::new(program).args(serve).output();
    refusal
        .is_ok_and(|refusal| !String::from_utf8_lossy(&refusal.stderr).contains("built without FoundationDB"))
}

fn store(text: &str) -> anyhow::Result<Store> {
    let (name, frontends) = text.split_once(':').unwrap_or((text, "1"));
    let frontends = frontends.parse().ok().filter(|frontends| (1..=9).contains(frontends));
    match (name, frontends) {
        ("memory", Some(1)) => Ok(Store::Memory),
        ("embedded", Some(1)) => Ok(Store::Embedded),
        ("postgres", Some(frontends)) => Ok(Store::Postgres { frontends }),
        ("foundationdb", Some(frontends)) => Ok(Store::FoundationDb { frontends }),
        _ => bail!("is none of memory, embedded, postgres, postgres:3, foundationdb, foundationdb:3"),
    }
}
