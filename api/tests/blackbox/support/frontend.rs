//! One process of the server.

use super::PATIENCE;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LOG_LINES_SHOWN: usize = 60;

type Log = Arc<Mutex<Vec<String>>>;

/// A running process, and how it was started. Dropping it kills it.
#[derive(Debug)]
pub struct Frontend {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(&'static str, String)>,
    log: Log,
}

/// How a program ended.
#[derive(Debug)]
pub struct Exit {
    pub code: Option<i32>,
    pub log: String,
    /// What it wrote to standard output, where that was kept.
    pub output: String,
}

impl Frontend {
    /// Starts a process in this folder, with further environment variables.
    pub fn start(folder: &Path, arguments: &[String], settings: &[(&'static str, &str)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let (process, address, log) = spawn(folder, arguments, &settings);
        Self { process, address, folder: folder.to_owned(), arguments: arguments.to_vec(), settings, log }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The most memory that the process has had, in KiB.
    pub fn most_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Kills the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let script = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    /// Waits until the process has ended.
    pub fn wait_for_exit(&mut self) -> Exit {
        let code = wait(&mut self.process);
        Exit { code, log: self.log.lock().unwrap().join("\n"), output: String::new() }
    }

    /// Starts it again as before, on a new port. The old process must have ended.
    pub fn start_again(&mut self) {
        assert!(self.process.try_wait().unwrap().is_some(), "the server still runs");
        (self.process, self.address, self.log) = spawn(&self.folder, &self.arguments, &self.settings);
    }

    /// Runs the program with these arguments until it ends by itself.
    pub fn run_to_end(arguments: &[&str]) -> Exit {
        Self::run_to_end_with(arguments, &[])
    }

    /// The same, with further environment variables.
    pub fn run_to_end_with(arguments: &[&str], settings: &[(&'static str, String)]) -> Exit {
        run_to_end(Self::command(arguments, settings))
    }

    /// The same, by a shell's script that runs its arguments.
    pub fn run_to_end_in_shell(
        script: &str,
        arguments: &[&str],
        settings: &[(&'static str, String)],
    ) -> Exit {
        let program = Self::command(arguments, settings);
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        run_to_end(command)
    }

    /// The program with these arguments and further environment variables, not started yet.
    pub fn command(arguments: &[&str], settings: &[(&'static str, String)]) -> Command {
        let mut command = program();
        command.args(arguments).envs(settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn run_to_end(mut command: Command) -> Exit {
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = Log::default();
    let (_address, done) = drain_stderr(&mut process, &log);
    let mut stdout = process.stdout.take().unwrap();
    let output = std::thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).unwrap();
        output
    });
    let code = wait(&mut process);
    done.recv_timeout(PATIENCE).unwrap_or_default();
    Exit { code, log: log.lock().unwrap().join("\n"), output: output.join().unwrap() }
}

impl Drop for Frontend {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().unwrap();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap();
            let shown = &log[log.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("the log of the server on {}:\n{}", self.address, shown.join("\n"));
        }
    }
}

/// Settings under which the whole suite can be run: `DRAGON_TEST_FAST_PATH=false` sets `DRAGON_FAST_PATH`.
const VARIED: [&str; 2] = ["FAST_PATH", "LOG_FILE_BYTES"];

/// The program with nothing else set by the surroundings.
fn program() -> Command {
    let mut command = match std::env::var_os("DRAGON_TEST_PROGRAM") {
        // From the root of the repository.
        Some(given) => Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(given)),
        None => Command::new(env!("CARGO_BIN_EXE_cloud-dragon")),
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DRAGON_")) {
        command.env_remove(name);
    }
    for name in VARIED {
        if let Some(value) = std::env::var_os(format!("DRAGON_TEST_{name}")) {
            command.env(format!("DRAGON_{name}"), value);
        }
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn spawn(
    folder: &Path,
    arguments: &[String],
    settings: &[(&'static str, String)],
) -> (Child, SocketAddr, Log) {
    let mut command = program();
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    let mut process = command.envs(settings.iter().map(|(name, value)| (name, value))).spawn().unwrap();
    let log = Log::default();
    let (address, _done) = drain_stderr(&mut process, &log);
    let Ok(address) = address.recv_timeout(PATIENCE) else {
        process.kill().unwrap_or_default();
        panic!("the server did not listen: {}", log.lock().unwrap().join("\n"));
    };
    let begun = Instant::now();
    // One that asks for TLS is asked by the test.
    let is_encrypted = settings.iter().any(|(name, _)| *name == "DRAGON_TLS_CERT");
    while !is_encrypted && !is_ready(address) {
        assert!(begun.elapsed() < PATIENCE, "not ready: {}", log.lock().unwrap().join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
    (process, address, log)
}

/// Whether it says so: it listens before it has reached its store, where that is elsewhere.
fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

/// Reads what the process says until it ends. Gives the address that it listens on, and its end.
fn drain_stderr(process: &mut Child, log: &Log) -> (Receiver<SocketAddr>, Receiver<()>) {
    let stderr = BufReader::new(process.stderr.take().unwrap());
    let (found, address) = channel();
    let (ended, end) = channel();
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in stderr.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let listening = line.split_once("listening on http");
            let listening =
                listening.and_then(|(_, url)| url.split_once("://")).map(|(_, at)| at.trim().parse());
            if let Some(address) = listening {
                found.send(address.unwrap()).unwrap_or_default();
            }
            log.lock().unwrap().push(line);
        }
        ended.send(()).unwrap_or_default();
    });
    (address, end)
}

fn wait(process: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "the program did not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}
