//! `cloud-dragon lock NAME -- COMMAND`: runs a command while a lock is held, and not a moment longer.
//!
//! Whatever happens, the command and all that it has started must be dead before the lock can pass to another. Two see to it: this
//! process, which holds the lock, and a supervisor, which runs the command and is told until when it may live. When either of them dies
//! or stands still, the other kills.

mod family;
mod message;
mod moment;
mod signals;
mod supervised;
mod supervisor;

use super::account::{ClientArguments, told};
use super::data::seconds;
use super::{CliError, say};
use clap::Args;
use dragon_client::{Code, LockGuard, Lost};
use message::Report;
use signals::Signals;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use supervised::Supervised;
pub use supervisor::{SupervisorArguments, supervise};

/// The lock was not got in the time given, as timeout(1) ends when the time is over.
const NOT_GOT: u8 = 124;
/// The lock could not be asked for, or was lost, as timeout(1) ends when it fails itself.
const FAILED: u8 = 125;
/// The command is there but can't be run; or is not there: as shells say it.
const NOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What shells add to the number of a signal that has ended a command.
const BY_SIGNAL: i32 = 128;

/// How long to wait when nothing is said: for as long as it takes.
const WAIT_FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long it may take at most to give back what was perhaps granted when the waiting is broken off, and to give a lock back.
const GIVE_BACK_TIME: Duration = Duration::from_secs(10);

/// How often to look at the clocks while a command runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    /// Leave the command in the foreground, so that it can read from the terminal
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

    /// Whether the terminal has sent this signal to the command as well, which is in the foreground with this program.
    fn has_it_from_the_terminal(&self, number: i32) -> bool {
        use rustix::process::Signal;
        let from_terminal = [Signal::INT, Signal::QUIT, Signal::WINCH];
        self.foreground
            && Signal::from_named_raw(number).is_some_and(|signal| from_terminal.contains(&signal))
    }

    /// How long before the lock could pass on the command is sent SIGTERM.
    fn term_before(&self) -> Duration {
        self.term_before.unwrap_or(self.lease / 6).min(self.lease / 2)
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
        say(format_args!("error: {error}"));
        FAILED
    }))
}

async fn run(arguments: &LockArguments) -> Result<u8, CliError> {
    let mut signals = Signals::new().map_err(|error| CliError::new("signals", error))?;
    let guard = match acquire(arguments, &mut signals).await? {
        Ok(guard) => guard,
        Err(code) => return Ok(code),
    };
    match Supervised::start(arguments, &guard).await {
        Ok(command) => hold(arguments, guard, command, signals).await,
        Err(error) => {
            give_back(guard, &mut signals).await;
            Err(CliError::new("the supervisor", error))
        }
    }
}

/// The lock, or how to end without it.
async fn acquire(
    arguments: &LockArguments,
    signals: &mut Signals,
) -> Result<Result<LockGuard, u8>, CliError> {
    let lock = arguments.client.account()?.lock(&*arguments.name);
    let lock =
        lock.lease(arguments.lease).owner(arguments.owner()).wait(arguments.wait.unwrap_or(WAIT_FOREVER));
    let (broken_off, interrupted) = tokio::sync::oneshot::channel();
    let acquiring = lock.acquire_unless(async {
        let number = signals.next_that_ends().await;
        let _told = broken_off.send(number);
        number
    });
    let outcome = tokio::select! {
        outcome = acquiring => outcome,
        number = too_long(interrupted) => return Ok(Err(by_signal(number))),
    };
    match outcome {
        Ok(Ok(guard)) => Ok(Ok(guard)),
        Ok(Err(number)) => Ok(Err(by_signal(number))),
        Err(error) if error.code() == Some(&Code::LockTimeout) => {
            say(format_args!("{}", told(&error)));
            Ok(Err(NOT_GOT))
        }
        Err(error) => Err(told(&error)),
    }
}

/// The number of the signal by which waiting was broken off, when giving back what was perhaps granted takes too long after it, or
/// another one comes.
async fn too_long(interrupted: tokio::sync::oneshot::Receiver<i32>) -> i32 {
    let Ok(number) = interrupted.await else { return std::future::pending().await };
    match Signals::new() {
        Ok(mut signals) => drop(tokio::time::timeout(GIVE_BACK_TIME, signals.next_that_ends()).await),
        Err(_none) => tokio::time::sleep(GIVE_BACK_TIME).await,
    }
    number
}

fn by_signal(number: i32) -> u8 {
    u8::try_from(BY_SIGNAL + number).unwrap_or(u8::MAX)
}

/// Waits for the command to end, and kills it when the lock is lost or about to be.
async fn hold(
    arguments: &LockArguments,
    guard: LockGuard,
    mut command: Supervised,
    mut signals: Signals,
) -> Result<u8, CliError> {
    let margin = moment::margin(arguments.lease);
    let mut was_terminated = false;
    let why = loop {
        let kill_at = guard.held_until() - margin;
        command.may_live_until(kill_at, arguments.term_before());
        // Looked at now and then, for the clocks' sake and that of orphans that have ended.
        let next = kill_at.min(Instant::now() + LOOK_EVERY);
        tokio::select! {
            biased;
            number = signals.next() => if !arguments.has_it_from_the_terminal(number) { command.pass_on(number) },
            report = command.next() => match report {
                Some(Report::Terminated) => {
                    was_terminated = true;
                    say(format_args!("the lease of {} is not extended: the command is asked to end", arguments.name));
                }
                Some(report) => return finish(arguments, guard, report, was_terminated, signals).await,
                None => break "its supervisor is gone".to_owned(),
            },
            lost = guard.lost() => break told(&lost.into()).to_string(),
            () = guard.extended() => {}
            () = tokio::time::sleep_until(next.into()) => if Instant::now() >= guard.held_until() - margin {
                break told(&Lost::NotExtended(None).into()).to_string();
            },
        }
    };
    match command.kill() {
        Ok(0) => Err(not_kept(arguments, why)),
        Ok(left) => Err(not_kept(arguments, format!("{why}; {left} processes could not be killed"))),
        Err(error) => {
            Err(not_kept(arguments, format!("{why}; what it has started could not be killed: {error}")))
        }
    }
}

/// The command did not end by itself, or must not count as if it had.
fn not_kept(arguments: &LockArguments, why: impl fmt::Display) -> CliError {
    CliError::new(format!("the lock {} could not be kept, and the command was ended", arguments.name), why)
}

/// Gives the lock back, and ends as the command has.
async fn finish(
    arguments: &LockArguments,
    guard: LockGuard,
    report: Report,
    was_terminated: bool,
    mut signals: Signals,
) -> Result<u8, CliError> {
    if let Report::Left(left) = report {
        // It is left to its lease, as they are left to themselves.
        return Err(CliError(format!("{left} processes that the command has started could not be killed")));
    }
    let was_held = guard.is_held();
    let not_locked = give_back(guard, &mut signals).await;
    if was_terminated || !was_held || not_locked {
        return Err(not_kept(arguments, "its lease was not extended in time"));
    }
    match report {
        Report::Code(code) => Ok(u8::try_from(code).unwrap_or(u8::MAX)),
        Report::Signal(number) => Ok(by_signal(number)),
        Report::NotStarted(errno) => {
            let error = io::Error::from_raw_os_error(errno);
            say(format_args!("error: {}: {error}", arguments.command[0].display()));
            Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN })
        }
        Report::Terminated | Report::Left(_) => Err(CliError("the supervisor is out of order".to_owned())),
    }
}

/// Gives the lock back, unless that takes too long or a signal says so. Whether it was not held any more.
async fn give_back(guard: LockGuard, signals: &mut Signals) -> bool {
    // Those that came together with the command's end were meant for it.
    signals.forget_pending();
    let released = tokio::select! {
        released = tokio::time::timeout(GIVE_BACK_TIME, guard.release()) => released,
        _number = signals.next_that_ends() => {
            say(format_args!("interrupted: the lock is free when its lease ends"));
            return false;
        }
    };
    match released {
        Ok(Ok(())) => false,
        Ok(Err(error)) if error.code() == Some(&Code::NotLocked) => true,
        Ok(Err(error)) => {
            say(format_args!("the lock is free when its lease ends: {}", told(&error)));
            false
        }
        Err(_elapsed) => {
            say(format_args!("the lock is free when its lease ends: the server does not answer"));
            false
        }
    }
}
