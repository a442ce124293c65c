//! Plays seeds by the thousand, or one again.

use clap::Parser;
use dragon_simulation::{Bug, Judged, Plan, Seeds, judge, play};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Deterministic simulation of Cloud Dragon: each seed is one run of frontends and clients over a store that
/// misbehaves; what the clients saw is checked.
#[derive(Debug, Parser)]
#[command(name = "dragon-simulation")]
struct Arguments {
    /// How many seeds to play.
    #[arg(long, default_value_t = 1_000, conflicts_with = "minutes")]
    seeds: u64,
    /// For how many minutes to play, instead of a number of seeds.
    #[arg(long)]
    minutes: Option<f64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many threads to play on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// A mistake to build into the store, to see that it is found.
    #[arg(long, value_enum)]
    bug: Option<Bug>,
    /// Play this seed alone, say all about it, and write its history.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "first"])]
    seed: Option<u64>,
    /// Show what the product logs, on the standard error; with one seed only.
    #[arg(long, requires = "seed")]
    log: bool,
    /// The folder that histories are written to.
    #[arg(long, default_value = ".")]
    histories: PathBuf,
}

/// In so many seeds one account may be left undecided; about one in three hundred is.
const SEEDS_AN_UNDECIDED: u64 = 100;

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => replay(&arguments, seed),
        None => play_all(&arguments),
    }
}

fn replay(arguments: &Arguments, seed: u64) -> std::io::Result<ExitCode> {
    if arguments.log {
        let builder =
            tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG);
        builder.without_time().with_writer(std::io::stderr).init();
    }
    println!("{:#?}", Plan::new(seed, arguments.bug));
    let judged = judge(seed, arguments.bug);
    println!("{:#?}\n{:#?}", judged.run.counts, judged.report.looked_at);
    if !judged.report.undecided.is_empty() {
        println!("not decided: {:?}", judged.report.undecided);
    }
    println!("operations {}, digest {:016x}", judged.run.history.operations.len(), judged.run.digest);
    let file = write_history(&arguments.histories, &judged)?;
    println!("the history is in {}", file.display());
    Ok(tell_problems(&judged))
}

fn play_all(arguments: &Arguments) -> std::io::Result<ExitCode> {
    let total = play(Seeds {
        first: arguments.first,
        count: arguments.minutes.is_none().then_some(arguments.seeds),
        time: arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        threads: arguments.threads,
        bug: arguments.bug,
    });
    println!("seeds {}, operations {}, undecided {}", total.seeds, total.operations, total.undecided);
    for (what, count) in &total.counts {
        println!("  {what}: {count}");
    }
    println!("{:.0} seeds a minute, digest {:016x}", total.seeds_a_minute(), total.digest);
    if total.undecided * SEEDS_AN_UNDECIDED > total.seeds.max(SEEDS_AN_UNDECIDED) {
        println!("too many accounts could not be decided for this to be worth much");
        return Ok(ExitCode::FAILURE);
    }
    let Some(judged) = total.bad else { return Ok(ExitCode::SUCCESS) };
    println!("seed {} breaks the contract", judged.run.seed);
    let file = write_history(&arguments.histories, &judged)?;
    println!("the history is in {}", file.display());
    let code = tell_problems(&judged);
    let bug = arguments.bug.and_then(|bug| clap::ValueEnum::to_possible_value(&bug));
    let bug = bug.map_or_else(String::new, |bug| format!(" --bug {}", bug.get_name()));
    println!("to see it again: dragon-simulation --seed {}{bug}", judged.run.seed);
    Ok(code)
}

fn tell_problems(judged: &Judged) -> ExitCode {
    for problem in &judged.problems {
        println!("{problem}");
    }
    for number in judged.report.violations.iter().take(3).flat_map(|violation| &violation.operations) {
        println!("{number}: {:?}", judged.run.history.operations[*number]);
    }
    if judged.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_history(folder: &Path, judged: &Judged) -> std::io::Result<PathBuf> {
    let file = folder.join(format!("history-{}.jsonl", judged.run.seed));
    judged.run.history.write(BufWriter::new(File::create(&file)?))?;
    Ok(file)
}
