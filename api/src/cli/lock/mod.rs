//! `cloud-dragon lock NAME -- COMMAND`: runs a command while a lock is held, and not a moment longer.
//!
//! Whatever happens, the command must be dead before the lock can pass to another. Two see to it: this process, which asks the
//! command to end (SIGTERM) when the lease is not extended in time, and kills it a little later; and a watchdog, a process of its
//! own, which knows until when the command may live and kills it then, or at once when this process is gone.

mod child;
mod time;
mod watchdog;

use super::CliError;
use super::account::{ClientArguments, told};
use super::data::seconds;
use child::{Child, Ended};
use clap::Args;
use dragon_client::{Code, LockGuard, Lost};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
pub use watchdog::watchdog;

/// The lock was not got in the time given, as timeout(1) ends when the time is over.
const NOT_GOT: u8 = 124;
/// The lock could not be asked for, or was lost, as timeout(1) ends when it fails itself.
const FAILED: u8 = 125;
/// The command is there but can't be run; or is not there: as shells say it.
const NOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What shells add to the number of a signal that has ended a command.
const BY_SIGNAL: u8 = 128;

/// How long to wait when nothing is said: for as long as it takes.
const WAIT_FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a request that is under way may take to be undone when the waiting is broken off.
const GIVE_UP_TIME: Duration = Duration::from_millis(500);

/// What `lock` takes.
#[derive(Clone, Debug, Args)]
pub struct LockArguments {
    /// The lock
    pub name: String,
    /// The command, and what it takes; it finds the lock in DRAGON_LOCK_ID and DRAGON_LOCK_HANDLE
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// The lease, which is extended as long as the command runs: so long nobody else gets the lock when this machine dies
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = lease)]
    pub lease: Duration,
    /// How long to wait for the lock, as in 90s or 2h; 0s tries once; without it, for as long as it takes
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub wait: Option<Duration>,
    /// Who takes the lock, shown to those who wait; by default HOST:PROCESS
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// When the lock is about to be lost, how long before that the command is sent SIGTERM; by default a sixth of the lease
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub term_before: Option<Duration>,
    /// Leave the command in the foreground, so that it can read from the terminal; what it starts itself is not killed with it
    #[arg(long)]
    pub foreground: bool,
    /// Where.
    #[command(flatten)]
    pub client: ClientArguments,
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = seconds(text)?;
    if (1..=86_400).contains(&lease.as_secs()) {
        Ok(lease)
    } else {
        Err("it must be from 1s to 1d".to_owned())
    }
}

impl LockArguments {
    fn owner(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        self.owner.clone().unwrap_or_else(|| format!("{}:{}", host.trim(), std::process::id()))
    }

    /// How long before the lock could pass on the command is sent SIGTERM.
    fn term_before(&self) -> Duration {
        self.term_before.unwrap_or(self.lease / 6).min(self.lease / 2)
    }
}

/// The signals that end a program, which are passed on to the command.
struct Signals(Vec<(u8, Signal)>);

impl Signals {
    fn new() -> Result<Self, CliError> {
        let kinds =
            [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
        let signals: Result<_, _> = kinds
            .into_iter()
            .map(|kind| Ok((u8::try_from(kind.as_raw_value()).unwrap_or_default(), signal(kind)?)))
            .collect();
        signals.map(Self).map_err(|error: std::io::Error| CliError::new("signals", error))
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        let signals = self.0.iter_mut().map(|(number, signal)| {
            Box::pin(async {
                signal.recv().await;
                *number
            })
        });
        futures_util::future::select_all(signals).await.0
    }
}

/// `cloud-dragon lock`. It ends as the command ends.
pub fn lock(arguments: &LockArguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(CliError::new("the runtime", error)),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        FAILED
    }))
}

async fn run(arguments: &LockArguments) -> Result<u8, CliError> {
    let mut signals = Signals::new()?;
    let account = arguments.client.account()?;
    let asked = account.lock(&*arguments.name).lease(arguments.lease).owner(arguments.owner());
    let acquiring = asked.wait(arguments.wait.unwrap_or(WAIT_FOREVER)).acquire();
    let guard = tokio::select! {
        guard = acquiring => guard,
        number = signals.next() => {
            // What was asked for is given back by a task of its own.
            tokio::time::sleep(GIVE_UP_TIME).await;
            return Ok(BY_SIGNAL + number);
        }
    };
    let guard = match guard {
        Ok(guard) => guard,
        Err(error) if error.code() == Some(&Code::LockTimeout) => {
            eprintln!("{}", told(&error));
            return Ok(NOT_GOT);
        }
        Err(error) => return Err(told(&error)),
    };
    let child = match Child::start(arguments, &guard) {
        Ok(child) => child,
        Err(error) => {
            guard.release().await.map_err(|error| told(&error))?;
            return not_started(arguments, &error);
        }
    };
    hold(arguments, guard, child, signals).await
}

fn not_started(arguments: &LockArguments, error: &std::io::Error) -> Result<u8, CliError> {
    eprintln!("error: {}: {error}", arguments.command[0].display());
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(NOT_FOUND),
        _ => Ok(NOT_RUN),
    }
}

/// Waits for the command to end, and ends it when the lock is lost or about to be.
async fn hold(
    arguments: &LockArguments,
    guard: LockGuard,
    mut child: Child,
    mut signals: Signals,
) -> Result<u8, CliError> {
    let margin = time::margin(arguments.lease);
    let mut is_told = false;
    let lost = loop {
        let kill_at = guard.held_until() - margin;
        child.may_live_until(kill_at);
        let term_at = kill_at.checked_sub(arguments.term_before()).unwrap_or_else(Instant::now);
        let next = if is_told {
            kill_at
        } else if term_at <= Instant::now() {
            eprintln!("the lease of {} is not extended: ending the command", arguments.name);
            child.terminate();
            is_told = true;
            continue;
        } else {
            // Extensions are told to the watchdog as they come.
            term_at.min(Instant::now() + arguments.lease / 6)
        };
        tokio::select! {
            ended = child.ended() => return finish(arguments, guard, ended?, is_told).await,
            lost = guard.lost() => break lost,
            number = signals.next() => child.send(number),
            () = tokio::time::sleep_until(next.into()) => if is_told { break Lost::NotExtended(None) },
        }
    };
    child.kill();
    child.ended().await?;
    Err(not_kept(arguments, told(&lost.into())))
}

/// The command did not end by itself, or must not count as if it had.
fn not_kept(arguments: &LockArguments, why: impl std::fmt::Display) -> CliError {
    CliError::new(format!("the lock {} could not be kept, and the command was ended", arguments.name), why)
}

/// Gives the lock back, and ends as the command has.
async fn finish(
    arguments: &LockArguments,
    guard: LockGuard,
    ended: Ended,
    was_told: bool,
) -> Result<u8, CliError> {
    let released = tokio::time::timeout_at(guard.held_until().into(), guard.release()).await;
    match released {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.code() == Some(&Code::NotLocked) => {
            return Err(not_kept(arguments, told(&error)));
        }
        Ok(Err(error)) => eprintln!("the lock is free when its lease ends: {}", told(&error)),
        Err(_elapsed) => eprintln!("the lock is free when its lease ends: the server does not answer"),
    }
    if was_told {
        return Err(not_kept(arguments, "its lease was not extended in time"));
    }
    Ok(match ended {
        Ended::Code(code) => code,
        Ended::Signal(number) => BY_SIGNAL + number,
    })
}
