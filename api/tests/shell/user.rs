//! Somebody at a shell, with a server.

use crate::server::{Server, find_program, forget_settings};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that should happen: long enough for the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct User {
    pub server: Server,
    folder: TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl User {
    pub fn new() -> Self {
        Self { server: Server::start(), folder: tempfile::tempdir().unwrap() }
    }

    /// A file in the folder in which everything runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_cloud-dragon"), arguments)
    }

    /// Another program, in the same surroundings.
    pub fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        forget_settings(&mut command);
        command.args(arguments).current_dir(self.folder.path());
        // The scripts under a lock call it by its name.
        find_program(&mut command, None);
        command.env("DRAGON_SERVER", format!("http://{}", self.server.address));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Starts a script under the lock `job`.
    pub fn lock(&self, options: &[&str], script: &str) -> Child {
        self.start(&[&["lock", "job"], options, &["--", "sh", "-c", script]].concat())
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        done(self.start(arguments))
    }

    /// Requires success, and gives what was printed.
    #[track_caller]
    pub fn prints(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.errors);
        done.output
    }

    /// Asks the server for something that no command asks for.
    pub fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(self.server.address).unwrap();
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    /// Waits until the one lock that is held has so many who wait for it.
    pub fn wait_for_waiting(&self, waiting: u64) {
        let text = format!("\"Waiting\":{waiting}}}");
        eventually(&text, || self.prints(&["list", "--kind", "locks"]).contains(&text));
    }

    /// Waits until a file is there, and is not empty.
    pub fn wait_for_file(&self, name: &str) {
        eventually(name, || std::fs::metadata(self.file(name)).is_ok_and(|found| found.len() > 0));
    }
}

/// Waits for a command to end.
pub fn done(mut process: Child) -> Done {
    eventually("the end of a command", || process.try_wait().unwrap().is_some());
    let output = process.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Done { code: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
}

/// Waits for a command to end that has left something running, which has its output.
pub fn done_alone(mut process: Child) -> Option<i32> {
    eventually("the end of a command", || process.try_wait().unwrap().is_some());
    process.wait().unwrap().code()
}

/// Looks again and again. Only for what can't be waited for otherwise: another process's files and its end.
pub fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "nothing came of it: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
