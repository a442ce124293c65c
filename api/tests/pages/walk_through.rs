//! The operator's page goes through a scheduled backup, the loss of the data folder, and a restore: it is done here as it
//! is told there, with a real S3 server. Only times, ids and sizes may differ.

use crate::server::{find_program, forget_settings};
use crate::shell::{Shell, blocks};
use dragon_private_s3::PrivateS3;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../../docs/operators.md");

/// The line with everything made the same that has digits and is longer than a count, and with single spaces.
fn without_times(line: &str) -> String {
    let is_word = |byte: char| byte.is_ascii_alphanumeric() || "-:.".contains(byte);
    let same = |word: &str| {
        let varies = word.len() > 2 && word.contains(|byte: char| byte.is_ascii_digit());
        if varies { "…".to_owned() } else { word.to_owned() }
    };
    let mut text = String::new();
    let mut word = String::new();
    for byte in line.chars() {
        if is_word(byte) {
            word.push(byte);
        } else {
            text += &same(&word);
            text.push(byte);
            word.clear();
        }
    }
    text += &same(&word);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A shell in this folder with the program on its path and nothing set of it. However it ends, no server stays.
fn start_shell(folder: &Path, variables: impl IntoIterator<Item = (&'static str, String)>) -> Shell {
    let mut bash = Command::new("bash");
    forget_settings(&mut bash);
    find_program(&mut bash, None);
    bash.current_dir(folder).envs(variables);
    let mut shell = Shell::start(&mut bash, without_times);
    shell.tell("trap 'kill -9 $(jobs -p) 2> /dev/null' EXIT\n");
    shell
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// Does what a part of the page says, with other ports. How many blocks that were.
fn run(shell: &mut Shell, part: &str, ports: &[(&str, String)]) -> usize {
    let other = |number: &str| {
        ports.iter().find(|(port, _)| *port == number).map_or(number.to_owned(), |(_, free)| free.clone())
    };
    let mut ran = 0;
    for mut block in blocks(part) {
        // Number by number, so that none is taken for a part of another one.
        let words = block.commands.split_inclusive(|byte: char| !byte.is_ascii_digit());
        block.commands = words
            .map(|word| match word.find(|byte: char| !byte.is_ascii_digit()) {
                Some(end) => other(&word[..end]) + &word[end..],
                None => other(word),
            })
            .collect();
        shell.begin(block);
        shell.finish();
        ran += 1;
    }
    ran
}

/// What follows a heading, up to the next of the same level.
fn part(heading: &str) -> &'static str {
    let (_, after) = PAGE.split_once(heading).unwrap();
    after.split("\n## ").next().unwrap()
}

#[test]
fn a_lost_store_comes_back_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = PrivateS3::start();
    let mut shell = start_shell(folder.path(), s3.environment());
    let ran = run(&mut shell, part("### A walk-through"), &[("8080", free_port())]);
    assert!(ran >= 5, "only {ran} blocks were found");
    shell.tell("kill $!\nwait\nexit\n");
}

#[test]
fn three_servers_come_into_being_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = PrivateS3::start();
    let postgres = dragon_private_postgres::Server::start_with_tcp("");
    let (_, address) =
        postgres.tcp_url().split_once('@').map(|(user, at)| (user.to_owned(), at.to_owned())).unwrap();
    let postgres_port = address.trim_start_matches("127.0.0.1:").trim_end_matches("/postgres").to_owned();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().display().to_string();
    let variables = s3.environment().into_iter().chain([("CLOUD_DRAGON", repository)]);
    let mut shell = start_shell(folder.path(), variables);
    // The one in Prometheus' configuration stays.
    let mut ports = vec![("5432", postgres_port), ("9090", free_port())];
    ports.extend(["8081", "8082", "8083"].map(|port| (port, free_port())));
    let ran = run(&mut shell, part("## From nothing to three servers"), &ports);
    assert!(ran >= 8, "only {ran} blocks were found");
    shell.tell("kill $(jobs -p)\nwait\nexit\n");
}
