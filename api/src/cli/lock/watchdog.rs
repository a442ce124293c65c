//! The watchdog: a process of its own that kills a command when it has lived as long as it may, or at once when whoever holds the
//! lock is gone. It is told by lines on its standard input: `group PID MOMENT`, `process PID MOMENT`, and `end` when the command
//! has ended by itself.

use super::child::Target;
use super::time::Moment;
use rustix::process::{Pid, Signal};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// How the program is asked to be a watchdog.
pub(crate) const NAME: &str = "lock-watchdog";

/// What it is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    Until(Target, Moment),
    End,
}

fn read(line: &str) -> Option<Told> {
    let mut words = line.split(' ');
    let target: fn(Pid) -> Target = match words.next()? {
        "group" => Target::Group,
        "process" => Target::Process,
        "end" => return Some(Told::End),
        _ => return None,
    };
    let pid = Pid::from_raw(words.next()?.parse().ok()?)?;
    Some(Told::Until(target(pid), Moment(words.next()?.parse().ok()?)))
}

/// `cloud-dragon lock-watchdog`.
pub fn watchdog() -> ExitCode {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Some(told) = line.ok().as_deref().and_then(read) else { return };
            if sender.send(told).is_err() {
                return;
            }
        }
    });
    watch(&lines);
    ExitCode::SUCCESS
}

fn watch(lines: &Receiver<Told>) {
    let mut watched: Option<(Target, Moment)> = None;
    loop {
        let told = match watched {
            Some((_, moment)) => lines.recv_timeout(moment.left()),
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match (told, watched) {
            (Ok(Told::End), _) => return,
            (Ok(Told::Until(target, moment)), _) => watched = Some((target, moment)),
            // Also when the other end is gone, or has said something that it never says.
            (Err(why), Some((target, _))) => {
                target.send(Signal::KILL);
                if why == RecvTimeoutError::Disconnected {
                    return;
                }
                // The same number may be another process's later: whoever is there kills what is left.
                watched = None;
            }
            (Err(_), None) => return,
        }
    }
}

/// The watchdog, as seen by whoever holds the lock.
pub(super) struct Watchdog(Child);

impl Watchdog {
    pub(super) fn start() -> io::Result<Self> {
        // This very program, even if it has been replaced on the disk meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg(NAME).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Out of reach of the terminal's signals.
        command.process_group(0);
        command.spawn().map(Self)
    }

    fn write(&mut self, line: &str) -> bool {
        self.0.stdin.as_mut().is_some_and(|stdin| stdin.write_all(line.as_bytes()).is_ok())
    }

    /// Tells it until when the command may live. Whether it has heard.
    pub(super) fn tell(&mut self, target: Target, moment: Moment) -> bool {
        let (kind, pid) = match target {
            Target::Group(pid) => ("group", pid),
            Target::Process(pid) => ("process", pid),
        };
        self.write(&format!("{kind} {pid} {}\n", moment.0))
    }

    /// Tells it that there is nothing to watch any more, and waits for its end.
    pub(super) fn dismiss(&mut self) {
        self.write("end\n");
        self.0.stdin = None;
        // Its exit tells nothing.
        let _ended = self.0.wait();
    }
}
