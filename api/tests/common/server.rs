//! A server of its own for a test that speaks to it from outside, as a user would. Several test programs have this file, and none
//! of them uses all of it.

#![allow(dead_code, reason = "see above")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running server on the embedded store. Dropping it kills it and deletes its folder.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with::<&str>(&[])
    }

    /// Starts one with further arguments, and with nothing of the environment.
    pub fn start_with<A: AsRef<OsStr>>(arguments: &[A]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--drain-delay", "0", "--store"]);
        command.arg(format!("embedded:{}", folder.path().join("data").display())).args(arguments);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = log.find_map(|line| {
            let (_, address) = line.split_once("listening on http://")?;
            address.split_whitespace().next()?.parse().ok()
        });
        let address = address.unwrap_or_else(|| panic!("the server did not listen"));
        std::thread::spawn(move || log.for_each(drop));
        Self { process, address, _folder: folder }
    }
}

impl Server {
    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }
}

/// Sends a process a signal by its name.
pub fn signal(id: u32, name: &str) {
    // The shell's own `kill`: the program of that name is not on every machine.
    let script = format!("kill -{name} {id}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().unwrap();
    }
}

/// The program, with nothing set by the surroundings.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-dragon"));
    forget_settings(&mut command);
    command
}

/// Has a command find the program by its name, behind what this folder has.
pub fn find_program(command: &mut Command, folder: Option<&Path>) {
    let programs = Path::new(env!("CARGO_BIN_EXE_cloud-dragon")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let first = folder.into_iter().chain([programs]).map(Path::to_owned);
    command.env("PATH", std::env::join_paths(first.chain(std::env::split_paths(&path))).unwrap());
}

/// What is set in the environment of whoever runs the tests is not for what they start.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DRAGON_")) {
        command.env_remove(name);
    }
}
