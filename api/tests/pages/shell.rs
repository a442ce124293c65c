//! The blocks of a page, and a shell that runs them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const END: &str = "-- end of block --";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// A block of commands and what they print.
pub struct Block {
    /// What follows the word `console`.
    pub info: String,
    pub commands: String,
    printed: Vec<String>,
}

/// All blocks of a page that are marked as `console`.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for part in page.split("\n```console").skip(1) {
        let (info, rest) = part.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        let (commands, printed): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("$ "));
        blocks.push(Block {
            info: info.trim().to_owned(),
            commands: commands.iter().map(|command| format!("{}\n", &command[2..])).collect(),
            printed: printed.into_iter().map(str::to_owned).collect(),
        });
    }
    blocks
}

/// The line with the number after each of these made the same.
pub fn without_numbers_after(names: &[&str], line: &str) -> String {
    names.iter().fold(line.to_owned(), |line, name| {
        let mut parts = line.split(name);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |same, part| {
            same + name + "…" + part.trim_start_matches(|byte: char| byte.is_ascii_digit())
        })
    })
}

pub struct Shell {
    process: Child,
    /// `None` once it is told nothing more.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Makes the same what differs from run to run.
    same: fn(&str) -> String,
    /// What a block that still runs must print.
    expected: Option<Vec<String>>,
}

impl Shell {
    pub fn start(bash: &mut Command, same: fn(&str) -> String) -> Self {
        let mut process = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().for_each(|line| sender.send(line.unwrap()).unwrap_or_default())
        });
        let stdin = process.stdin.take();
        Self { process, stdin, lines, same, expected: None }
    }

    /// Gives it commands that print nothing.
    pub fn tell(&mut self, commands: &str) {
        self.stdin.as_ref().unwrap().write_all(commands.as_bytes()).unwrap();
    }

    pub fn begin(&mut self, block: Block) {
        self.finish();
        self.tell(&format!("{}echo '{END}'\n", block.commands));
        self.expected = Some(block.printed.iter().map(|line| (self.same)(line)).collect());
    }

    /// Waits until a block has printed all that it should.
    pub fn finish(&mut self) {
        let Some(expected) = self.expected.take() else { return };
        let mut printed = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(ANSWER_TIME_MAX)
                .unwrap_or_else(|error| panic!("{error}: {printed:#?} of {expected:#?}"));
            if line == END {
                break;
            }
            printed.push((self.same)(&line));
        }
        assert_eq!(printed, expected);
    }
}

impl Drop for Shell {
    /// Lets it end by itself, with what it does then, unless it hangs.
    fn drop(&mut self) {
        drop(self.stdin.take());
        for _ in 0..100 {
            if self.process.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.process.kill().unwrap_or_default();
        self.process.wait().unwrap();
    }
}
