//! The command that runs under a lock.

use super::watchdog::Watchdog;
use super::{LockArguments, time::Moment};
use crate::cli::CliError;
use dragon_client::LockGuard;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;
use tokio::process::Command;

/// Who is sent signals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// The command and whatever it has started, unless that has taken itself out of the group.
    Group(Pid),
    /// The command alone.
    Process(Pid),
}

impl Target {
    pub(super) fn send(self, signal: Signal) {
        // Whoever is gone already needs no signal.
        let _gone = match self {
            Self::Group(pid) => kill_process_group(pid, signal),
            Self::Process(pid) => kill_process(pid, signal),
        };
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Code(u8),
    Signal(u8),
}

pub(super) struct Child {
    process: tokio::process::Child,
    target: Target,
    watchdog: Watchdog,
    may_live_until: Option<Instant>,
}

impl Child {
    /// Starts the command, with the lock in its environment.
    pub(super) fn start(arguments: &LockArguments, guard: &LockGuard) -> io::Result<Self> {
        // First: there must be no moment at which the command lives and nobody would kill it.
        let watchdog = Watchdog::start()?;
        let mut command = Command::new(&arguments.command[0]);
        command.args(&arguments.command[1..]);
        command
            .env("DRAGON_SERVER", &arguments.client.server)
            .env("DRAGON_ACCOUNT", &arguments.client.account);
        command.env("DRAGON_LOCK_ID", guard.id()).env("DRAGON_LOCK_HANDLE", guard.handle().to_string());
        if !arguments.foreground {
            command.process_group(0);
        }
        let process = command.spawn()?;
        let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let id = id.ok_or_else(|| io::Error::other("the command has no process"))?;
        let target = if arguments.foreground { Target::Process(id) } else { Target::Group(id) };
        Ok(Self { process, target, watchdog, may_live_until: None })
    }

    /// Has the watchdog kill the command at this moment, and not at one it was told before.
    pub(super) fn may_live_until(&mut self, moment: Instant) {
        if self.may_live_until.replace(moment) != Some(moment)
            && !self.watchdog.tell(self.target, Moment::of(moment))
        {
            // Without it nobody would kill the command if this process died.
            tracing::warn!("the watchdog is gone");
        }
    }

    /// Waits for the command to end. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> Result<Ended, CliError> {
        let status = self.process.wait().await.map_err(|error| CliError::new("the command", error))?;
        self.watchdog.dismiss();
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(byte(code)),
            (None, signal) => Ended::Signal(byte(signal.unwrap_or_default())),
        })
    }

    /// Passes a signal on.
    pub(super) fn send(&self, number: u8) {
        if let Some(signal) = Signal::from_named_raw(number.into()) {
            self.target.send(signal);
        }
    }

    /// Asks the command to end, even one that was stopped.
    pub(super) fn terminate(&self) {
        self.target.send(Signal::TERM);
        self.target.send(Signal::CONT);
    }

    pub(super) fn kill(&self) {
        self.target.send(Signal::KILL);
    }
}
