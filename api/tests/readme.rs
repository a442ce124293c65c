//! The README's examples are run as they are printed, in two shells where the text says so, and must
//! print what the README says. Only times may differ.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const README: &str = include_str!("../../README.md");
const END: &str = "-- end of block --";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// A block of commands and what they print.
struct Block {
    shell: usize,
    commands: String,
    printed: Vec<String>,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for part in README.split("\n```console").skip(1) {
        let (info, rest) = part.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        let (commands, printed): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("$ "));
        blocks.push(Block {
            shell: usize::from(info.contains("second shell")),
            commands: commands.iter().map(|command| format!("{}\n", &command[2..])).collect(),
            printed: printed.into_iter().map(without_times).collect(),
        });
    }
    blocks
}

/// The line with every `"Till":…` made the same.
fn without_times(line: &str) -> String {
    let mut parts = line.split("\"Till\":");
    let mut same = parts.next().unwrap().to_owned();
    for part in parts {
        same += "\"Till\":…";
        same += part.trim_start_matches(|byte: char| byte.is_ascii_digit());
    }
    same
}

struct Shell {
    process: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// What a block that still runs must print.
    expected: Option<Vec<String>>,
}

impl Shell {
    fn start(port: u16) -> Self {
        let mut process = Command::new("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().for_each(|line| sender.send(line.unwrap()).unwrap_or_default())
        });
        let mut stdin = process.stdin.take().unwrap();
        let first = blocks().remove(0).commands.replace("8080", &port.to_string());
        stdin.write_all(first.as_bytes()).unwrap();
        Self { process, stdin, lines, expected: None }
    }

    fn begin(&mut self, block: Block) {
        self.finish();
        writeln!(self.stdin, "{}echo '{END}'", block.commands).unwrap();
        self.expected = Some(block.printed);
    }

    fn finish(&mut self) {
        let Some(expected) = self.expected.take() else { return };
        let mut printed = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(ANSWER_TIME_MAX)
                .unwrap_or_else(|error| panic!("{error}: {expected:#?}"));
            if line == END {
                break;
            }
            printed.push(without_times(&line));
        }
        assert_eq!(printed, expected);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().unwrap();
    }
}

#[test]
fn every_example_prints_what_the_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_cloud-dragon"))
        .args(["--listen", "127.0.0.1:0", "--store"])
        .arg(format!("embedded:{}", folder.path().join("data").display()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let _server = Server(server);
    let listening = log.find_map(|line| {
        line.unwrap().split_once("listening on http://127.0.0.1:").map(|(_, port)| port.trim().parse::<u16>())
    });
    let port = listening.unwrap().unwrap();
    std::thread::spawn(move || log.for_each(drop));

    let mut shells = [Shell::start(port), Shell::start(port)];
    let mut ran = 0;
    for block in blocks().into_iter().skip(1) {
        let shell = block.shell;
        shells[shell].begin(block);
        if shell == 0 {
            shells[0].finish();
        } else {
            // The reader of the README types the next command after this one has begun to wait.
            std::thread::sleep(Duration::from_millis(500));
        }
        ran += 1;
    }
    shells[1].finish();
    assert!(ran >= 12, "only {ran} blocks were found");
}
