//! Another program as a private process: found, started on a free port of loopback with its data in a
//! temporary folder, and gone at the end. Nothing here knows what the programs do.

use crate::cpus::Cpus;
use crate::usage::Processes;
use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_TIME_MAX: Duration = Duration::from_secs(30);
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
const POLL_TIME: Duration = Duration::from_millis(20);
const SETPRIV: &str = "`setpriv` is in Debian's package util-linux";
/// How much of a log is shown when a program fails.
const LOG_BYTES_SHOWN: usize = 2_000;

/// What programs are started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Where data folders are made.
    pub folder: PathBuf,
    /// Where servers run.
    pub cpus: Cpus,
}

/// Finds a program in `PATH`, or in the folders where Debian puts what it keeps out of it.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let usual = ["/usr/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .chain(versions.into_iter().map(|(_, folder)| folder))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// So many ports of loopback that nobody uses now.
///
/// # Errors
/// When there are none.
pub fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut ports = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    // All are held until the last is found, so that no two are the same.
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind(*port)?;
        *port = listener.local_addr()?;
        held.push(listener);
    }
    Ok(ports)
}

/// Whom a program runs as.
#[derive(Clone, Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// One without rights, where this process is root: Postgres refuses to run as root.
    fn other_than_root() -> Result<Option<Self>> {
        if id("-u", None)? != Some(0) {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", Some(name))?, id("-g", Some(name))?) {
                return Ok(Some(Self { name: name.to_owned(), uid, gid }));
            }
        }
        bail!("this is root, and there is neither a user `postgres` nor `nobody` to run as")
    }
}

fn id(what: &str, user: Option<&str>) -> Result<Option<u32>> {
    let output = Command::new("id").arg(what).args(user).output().context("running `id`")?;
    Ok(std::str::from_utf8(&output.stdout)?.trim().parse().ok())
}

/// A folder for a program's data, and the right to run programs in it.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    user: Option<User>,
    /// What ends its programs.
    signal: &'static str,
    cpus: Cpus,
}

impl Place {
    /// A new folder, for programs that may run as root.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(start: &Start) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cloud-dragon-load-").tempdir_in(&start.folder)?;
        Ok(Self { folder, user: None, signal: "KILL", cpus: start.cpus.clone() })
    }

    /// A new folder, for Postgres: it must not run as root, and it takes its children with it
    /// on SIGQUIT, which SIGKILL leaves to find that out for themselves.
    ///
    /// # Errors
    /// When it can't be made, or there is no user for it.
    pub fn for_postgres(start: &Start) -> Result<Self> {
        let mut place = Self::new(start)?;
        place.user = User::other_than_root()?;
        place.signal = "QUIT";
        if let Some(User { uid, gid, .. }) = place.user {
            chown(place.folder.path(), Some(uid), Some(gid))?;
        }
        Ok(place)
    }

    /// Where the data belongs.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program that will run here, and end when this process does, however that ends.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(User { name, gid, .. }) = &self.user {
            command.arg(format!("--reuid={name}")).arg(format!("--regid={gid}")).arg("--init-groups");
        }
        command.arg(format!("--pdeathsig={}", self.signal)).arg("--").arg(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The end of what the programs said.
    fn log_end(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES_SHOWN)..]).into_owned()
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it fails.
    pub fn run<A: AsRef<OsStr>>(&self, program: &Path, arguments: &[A]) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command(program);
        command.args(arguments).stdout(log.try_clone()?).stderr(log);
        let status = self.cpus.spawn(&mut command).context(SETPRIV)?.wait()?;
        ensure!(status.success(), "{} failed: {}", program.display(), self.log_end());
        Ok(())
    }

    /// Starts a program, and waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start<A: AsRef<OsStr>>(
        self,
        program: &Path,
        arguments: &[A],
        address: SocketAddr,
    ) -> Result<Process> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command(program);
        command.args(arguments).stdout(log.try_clone()?).stderr(log);
        let child = self.cpus.spawn(&mut command).context(SETPRIV)?;
        let mut process = Process { child, address, place: self };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > START_TIME_MAX {
                bail!("{} did not come up: {}", program.display(), process.place.log_end());
            }
            std::thread::sleep(POLL_TIME);
        }
        Ok(process)
    }
}

/// A program that runs; it and its data are gone when this is.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    place: Place,
}

impl Process {
    /// Its processes, to be measured.
    #[must_use]
    pub fn processes(&self) -> Processes {
        Processes::family(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let (signal, pid) = (self.place.signal, self.child.id().to_string());
        let told = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", signal, &pid]).status();
        let begun = Instant::now();
        while told.is_ok() && begun.elapsed() < STOP_TIME_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(POLL_TIME),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        Start { folder: std::env::temp_dir(), cpus: Cpus::pin(None, None).unwrap() }
    }

    #[test]
    fn a_process_is_measured_and_ends() {
        let place = Place::new(&start()).unwrap();
        let folder = place.folder.path().to_owned();
        // Someone listens there already: the program is up at once.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = ["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 60; true"];
        let shell = find("sh").unwrap();
        let process = place.start(&shell, &busy, listener.local_addr().unwrap()).unwrap();
        let begun = Instant::now();
        let used = || process.processes().cpu_time().unwrap().unwrap();
        while used().is_zero() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(POLL_TIME);
        }
        assert!(!used().is_zero());
        let pid = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists() && !folder.exists());
    }

    #[test]
    fn programs_and_ports() {
        assert!(find("sh").is_some() && find("no-such-program").is_none());
        let [one, other] = free_ports().unwrap();
        assert!(one != other && one.port() != 0 && one.ip().is_loopback());
        let failed = Place::new(&start()).unwrap().run(&find("sh").unwrap(), &["-c", "echo no; exit 1"]);
        assert!(failed.unwrap_err().to_string().contains("no"));
    }
}
