//! The supervisor: the process that starts the command and is told, again and again, until when it may live. It asks the command to
//! end in time, kills it and all that it has started when the time is over, or at once when the holder of the lock is gone.

use super::family::Family;
use super::message::{Order, Report};
use super::moment::Moment;
use super::signals::{Signals, ends_programs};
use clap::Args;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How the program is asked to be a supervisor.
pub(super) const NAME: &str = "lock-supervisor";
/// How often to look at the clock: a timer stands still while the machine is suspended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long what a command has left behind may take to end by itself, when it was asked to.
const TIDY_TIME: Duration = Duration::from_secs(5);
/// The pause before it is tried again to kill what could not be killed.
const KILL_PAUSE: Duration = Duration::from_secs(1);

/// What `lock-supervisor` takes.
#[derive(Clone, Debug, Args)]
pub struct SupervisorArguments {
    /// The name of the holder's socket
    pub socket: String,
    /// The process group for the command; 0 is one of its own
    pub group: i32,
    /// The command
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// What happens.
enum Event {
    Told(Order),
    /// The holder is gone.
    Gone,
    /// A child has ended.
    Ended(Pid, WaitStatus),
}

/// `cloud-dragon lock-supervisor`.
pub fn supervise(arguments: &SupervisorArguments) -> ExitCode {
    // Whoever stops everything at once must not stop this one first: it ends when the command has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let handled = runtime.and_then(|runtime| {
        let _entered = runtime.enter();
        let signals = Signals::new()?;
        run(arguments).map(|()| drop(signals))
    });
    match handled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The holder, which is told by this one's end, kills what may run.
            let _unwritten = writeln!(io::stderr(), "error: the supervisor of the command: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &SupervisorArguments) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(&arguments.socket)?;
    let holder = UnixStream::connect_addr(&address)?;
    let family = Family::adopt(false)?;
    let (sender, events) = channel();
    let (lines, to_loop) = (holder.try_clone()?, sender.clone());
    thread::Builder::new().spawn(move || {
        for line in BufReader::new(lines).lines() {
            // What is not understood is no reason to let a command run on.
            let Some(order) = line.ok().as_deref().and_then(Order::read) else { break };
            if to_loop.send(Event::Told(order)).is_err() {
                return;
            }
        }
        let _ended = to_loop.send(Event::Gone);
    })?;
    let (begin, begun) = channel();
    thread::Builder::new().spawn(move || {
        // All children are waited for here, orphans too, and nobody else waits for any.
        let Ok(()) = begun.recv() else { return };
        while let Ok(Some((pid, status))) = wait(WaitOptions::empty()) {
            if sender.send(Event::Ended(pid, status)).is_err() {
                return;
            }
        }
    })?;
    let Ok(Event::Told(Order::Until { term_at, kill_at })) = events.recv() else { return Ok(()) };
    let supervisor = Supervisor {
        holder,
        events,
        family,
        term_at,
        kill_at,
        command: None,
        ended: None,
        is_term_sent: false,
        is_signalled: false,
        tidy_until: None,
    };
    supervisor.run(arguments, &begin)
}

struct Supervisor {
    holder: UnixStream,
    events: Receiver<Event>,
    family: Family,
    term_at: Moment,
    kill_at: Moment,
    /// The command, and whether it leads a group of its own.
    command: Option<(Pid, bool)>,
    /// How the command ended, while something that it has started is left.
    ended: Option<WaitStatus>,
    /// Whether it was asked to end because the time is nearly over.
    is_term_sent: bool,
    /// Whether a signal was passed on that ends programs.
    is_signalled: bool,
    tidy_until: Option<Moment>,
}

impl Supervisor {
    fn run(mut self, arguments: &SupervisorArguments, begin: &Sender<()>) -> io::Result<()> {
        // A holder that stood still meanwhile may have lost the lock: nothing is started.
        if self.term_at.is_over() {
            return Ok(());
        }
        let mut command = Command::new(&arguments.command[0]);
        command.args(&arguments.command[1..]).process_group(arguments.group);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                self.tell(Report::NotStarted(error.raw_os_error().unwrap_or_default()));
                return Ok(());
            }
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        self.command = pid.map(|pid| (pid, arguments.group == 0));
        drop(child);
        let _there = begin.send(());
        loop {
            let mut event = match self.events.recv_timeout(self.next().left().min(LOOK_EVERY)) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Event::Gone),
            };
            // All that was told, before the clock is looked at: the lease may have been extended.
            while let Some(happened) = event {
                if !self.take(happened) {
                    return self.kill().map(drop);
                }
                event = self.events.try_recv().ok();
            }
            if self.look()? {
                return Ok(());
            }
        }
    }

    /// Takes note of what has happened. Whether the holder is still there.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Told(Order::Until { term_at, kill_at }) => {
                (self.term_at, self.kill_at) = (term_at, kill_at)
            }
            Event::Told(Order::Signal(number)) => self.pass_on(number),
            Event::Ended(pid, status) => self.note_end(pid, status),
            Event::Gone => return false,
        }
        true
    }

    /// What has to be done next is due then.
    fn next(&self) -> Moment {
        let is_asked = self.is_term_sent || self.ended.is_some();
        let next = if is_asked { self.kill_at } else { self.term_at.min(self.kill_at) };
        self.tidy_until.map_or(next, |moment| moment.min(next))
    }

    fn note_end(&mut self, pid: Pid, status: WaitStatus) {
        if self.command.is_some_and(|(command, _)| command == pid) {
            let by = status.terminating_signal().and_then(Signal::from_named_raw);
            // Who was not asked to end has nothing to tidy up.
            let is_asked = self.is_term_sent || self.is_signalled || by.is_some_and(ends_programs);
            self.ended = Some(status);
            self.tidy_until = Some(Moment::now().after(if is_asked { TIDY_TIME } else { Duration::ZERO }));
        }
    }

    /// Does what is due. Whether it is all over.
    fn look(&mut self) -> io::Result<bool> {
        if !self.is_term_sent && self.term_at.is_over() && self.ended.is_none() {
            self.send(Signal::TERM);
            // Even one that was stopped.
            self.send(Signal::CONT);
            self.is_term_sent = true;
            self.tell(Report::Terminated);
        }
        let is_over = self.kill_at.is_over() || self.tidy_until.is_some_and(Moment::is_over);
        let left = if is_over { self.kill()? } else { 0 };
        // One that was killed is told by its end.
        let Some(status) = self.ended else {
            if left > 0 {
                thread::sleep(KILL_PAUSE);
            }
            return Ok(false);
        };
        if !is_over && !self.family.is_gone()? {
            return Ok(false);
        }
        let left = i32::try_from(left).unwrap_or(i32::MAX);
        self.tell(match (left, status.exit_status(), status.terminating_signal()) {
            (1.., _, _) => Report::Left(left),
            (_, Some(code), _) => Report::Code(code),
            (_, None, signal) => Report::Signal(signal.unwrap_or_default()),
        });
        Ok(true)
    }

    fn kill(&self) -> io::Result<usize> {
        self.family.kill(self.command.filter(|(_, leads)| *leads).map(|(pid, _)| pid))
    }

    fn pass_on(&mut self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            self.send(signal);
            self.is_signalled |= ends_programs(signal);
        }
    }

    fn send(&self, signal: Signal) {
        // Whoever is gone already needs no signal; and its number may be another's.
        let _gone = match self.command {
            Some((pid, true)) => kill_process_group(pid, signal),
            Some((pid, false)) if self.ended.is_none() => kill_process(pid, signal),
            _ => Ok(()),
        };
    }

    fn tell(&self, report: Report) {
        // A holder that is gone is told by the end of its lines.
        let _gone = writeln!(&self.holder, "{report}");
    }
}
