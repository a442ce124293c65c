//! All that a process has started, directly or not, wherever it has gone: into another process group, another session. Whoever is a
//! subreaper is the ancestor even of what was left behind by its parent.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// How often to look whether those who were killed are dead: nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Has orphans among this process's descendants become its children.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// A living process: its id, its parent's.
fn process(id: &fs::DirEntry) -> Option<(Pid, i32)> {
    let pid = Pid::from_raw(id.file_name().to_str()?.parse().ok()?)?;
    let stat = fs::read_to_string(id.path().join("stat")).ok()?;
    // The name in the middle may hold anything, and is in parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some((pid, parent))
}

/// All living descendants of this process.
///
/// # Errors
/// When the system does not tell what runs.
pub(super) fn descendants() -> io::Result<Vec<Pid>> {
    let processes: Vec<(Pid, i32)> =
        fs::read_dir("/proc")?.filter_map(Result::ok).filter_map(|entry| process(&entry)).collect();
    let mut family = HashSet::from([rustix::process::getpid().as_raw_nonzero().get()]);
    let mut found = Vec::new();
    // A child may be listed before its parent.
    loop {
        let before = found.len();
        for (pid, parent) in &processes {
            if family.contains(parent) && family.insert(pid.as_raw_nonzero().get()) {
                found.push(*pid);
            }
        }
        if found.len() == before {
            return Ok(found);
        }
    }
}

/// Kills all descendants, and waits until they are dead. Gives how many are left which this process has no right to kill.
///
/// # Errors
/// When the system does not tell what runs.
pub(super) fn kill_descendants() -> io::Result<usize> {
    loop {
        // Again and again: who was looked at may have started another one before it died.
        let found = descendants()?;
        let kill = |pid: &&Pid| kill_process(**pid, Signal::KILL) == Err(Errno::PERM);
        let beyond_reach = found.iter().filter(kill).count();
        if found.len() == beyond_reach {
            return Ok(beyond_reach);
        }
        sleep(LOOK_EVERY);
    }
}
