//! All that a process has started, directly or not, wherever it has gone: into another process group, another session. Whoever is a
//! subreaper is the ancestor even of what was left behind by its parent.

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, wait, waitid,
};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often to look whether those who were killed are dead: nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// When those who are not dead by then count as left. Most are, within milliseconds; what hangs in a device is not.
const KILL_TIME_MAX: Duration = Duration::from_secs(5);

/// A process, as the system shows it.
struct Process {
    id: i32,
    parent: i32,
    group: i32,
    /// Whether it has ended. One whose main thread alone has ended runs on.
    is_over: bool,
}

/// The descendants of this process, but for those that were there before: a program that has started something and then turned into
/// this one has left it its children.
#[derive(Debug)]
pub(super) struct Family {
    strangers: HashSet<i32>,
    /// Whether nobody else in this process waits for children.
    buries: bool,
}

impl Family {
    /// Has orphans among this process's descendants become its children from now on. `buries` says whether their end is taken note of
    /// here, since nobody else waits for children.
    ///
    /// # Errors
    /// When the system does not show this process: it shows those of another namespace, or none.
    pub(super) fn adopt(buries: bool) -> io::Result<Self> {
        let this = getpid().as_raw_nonzero().get();
        if fs::read_link("/proc/self")?.to_str().and_then(|id| id.parse().ok()) != Some(this) {
            return Err(io::Error::other("/proc is that of other processes"));
        }
        set_child_subreaper(Some(getpid()))?;
        let strangers =
            processes()?.into_iter().filter(|process| process.parent == this).map(|process| process.id);
        Ok(Self { strangers: strangers.collect(), buries })
    }

    /// All descendants that live.
    fn living(&self) -> io::Result<Vec<Process>> {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        for process in processes()?.into_iter().filter(|process| !self.strangers.contains(&process.id)) {
            children.entry(process.parent).or_default().push(process);
        }
        let (mut parents, mut found) = (vec![getpid().as_raw_nonzero().get()], Vec::new());
        while let Some(parent) = parents.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                parents.push(child.id);
                if !child.is_over {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    /// Whether nothing of it is left: nothing is shown, and this process has no children, which tells of those that are not shown.
    ///
    /// # Errors
    /// When the system does not tell what runs.
    pub(super) fn is_gone(&self) -> io::Result<bool> {
        Ok(!self.has_children() && self.living()?.is_empty())
    }

    /// Whether this process has a child, dead or alive, where none but family can be one.
    fn has_children(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.strangers.is_empty() && !matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
    }

    /// Kills all of it and waits until it is dead; `group` too, which the command leads. Gives how many are left, that this process has
    /// no right to kill or that do not die.
    ///
    /// # Errors
    /// When the system does not tell what runs. What was found until then is killed.
    pub(super) fn kill(&self, group: Option<Pid>) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            // As a whole, which nobody escapes by starting another process and ending.
            let _gone = group.map(|group| kill_process_group(group, Signal::KILL));
            let living = self.living()?;
            let denied = kill_each(&living);
            self.bury();
            if living.is_empty() && !self.has_children() {
                return Ok(0);
            }
            let is_beyond_reach = denied > 0 && denied == living.len();
            if begun.elapsed() > KILL_TIME_MAX || is_beyond_reach {
                // Those that are not shown count too.
                return Ok(living.len().max(1));
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Takes note of the end of orphans.
    pub(super) fn bury(&self) {
        while self.buries && matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    }
}

/// Kills each of these. Gives how many this process has no right to kill.
fn kill_each(living: &[Process]) -> usize {
    let ids: HashSet<i32> = living.iter().map(|process| process.id).collect();
    let kill = |process: &&Process| {
        // A group that a descendant leads holds nobody else's processes.
        if ids.contains(&process.group) {
            let _gone = Pid::from_raw(process.group).map(|group| kill_process_group(group, Signal::KILL));
        }
        Pid::from_raw(process.id).is_some_and(|pid| kill_process(pid, Signal::KILL) == Err(Errno::PERM))
    };
    living.iter().filter(kill).count()
}

/// The process group of this process.
///
/// # Errors
/// When its leader can't be seen from here, as in another namespace.
pub(super) fn own_group() -> io::Result<i32> {
    let stat = fs::read("/proc/self/stat")?;
    let group = process(getpid().as_raw_nonzero().get(), &stat).map(|process| process.group);
    let hidden = || io::Error::other("--foreground needs a process group that can be seen from here");
    group.filter(|group| *group > 0).ok_or_else(hidden)
}

/// All processes that the system shows.
fn processes() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read(entry.path().join("stat")) {
            Ok(stat) => processes.extend(process(id, &stat)),
            // It has ended meanwhile.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(processes)
}

/// Reads `/proc/…/stat`: id, name in parentheses, which may hold anything, state, parent, group, and as the 20th how many threads.
fn process(id: i32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.windows(2).rposition(|two| two == b") ")?;
    let rest = std::str::from_utf8(&stat[name_end + 2..]).ok()?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let threads: u32 = fields.get(17)?.parse().ok()?;
    let is_over = matches!(fields[0], "Z" | "X") && threads <= 1;
    Some(Process { id, parent: fields.get(1)?.parse().ok()?, group: fields.get(2)?.parse().ok()?, is_over })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read_whatever_their_name() {
        let line = |name: &[u8], state: &str, threads: u32| {
            let rest = format!(") {state} 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {threads} 0 1 2");
            [b"42 (", name, rest.as_bytes()].concat()
        };
        for name in [&b"sh"[..], b"a) R 1 2", b"aaaaaaaaaaaaaa\xc3", b""] {
            let process = process(42, &line(name, "S", 1)).unwrap();
            assert_eq!((process.parent, process.group, process.is_over), (7, 8, false));
        }
        assert!(process(42, &line(b"x", "Z", 1)).unwrap().is_over);
        assert!(!process(42, &line(b"x", "Z", 2)).unwrap().is_over, "its other threads run");
    }

    #[test]
    fn this_process_is_shown() {
        let this = getpid().as_raw_nonzero().get();
        assert!(processes().unwrap().iter().any(|process| process.id == this && !process.is_over));
    }
}
