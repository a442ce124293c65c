//! The operator's page goes through a scheduled backup, the loss of the data folder, and a restore: it is done here as it
//! is told there, with a real S3 server. Only times, ids and sizes may differ.

use crate::shell::{Shell, blocks};
use dragon_private_s3::PrivateS3;
use std::env;
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

#[test]
fn a_lost_store_comes_back_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = PrivateS3::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let programs = Path::new(env!("CARGO_BIN_EXE_cloud-dragon")).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path))).unwrap();
    let mut bash = Command::new("bash");
    bash.current_dir(folder.path()).env("PATH", path).envs(s3.environment());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DRAGON_")) {
        bash.env_remove(name);
    }
    let mut shell = Shell::start(&mut bash, without_times);
    // However this ends, no server stays.
    shell.tell("trap 'kill -9 $(jobs -p) 2> /dev/null' EXIT\n");
    let (_, walk) = PAGE.split_once("### A walk-through").unwrap();
    let mut ran = 0;
    for mut block in blocks(walk) {
        block.commands = block.commands.replace("8080", &port);
        shell.begin(block);
        shell.finish();
        ran += 1;
    }
    assert!(ran >= 5, "only {ran} blocks were found");
    shell.tell("kill $!\nwait\nexit\n");
}
