//! The README's examples are run as they are printed, in two shells where the text says so, and must
//! print what the README says. Only times may differ.

use crate::server::Server;
use crate::shell::{Shell, blocks, without_numbers_after};
use std::process::Command;
use std::time::Duration;

const README: &str = include_str!("../../../README.md");

/// The line with every `"Till":…` made the same.
fn without_times(line: &str) -> String {
    without_numbers_after(&["\"Till\":"], line)
}

#[test]
fn every_example_prints_what_the_readme_says() {
    let server = Server::start();
    let port = server.address.port();

    let mut blocks = blocks(README).into_iter();
    let first = blocks.next().unwrap().commands.replace("8080", &port.to_string());
    let mut shells = [(); 2].map(|()| Shell::start(&mut Command::new("bash"), without_times));
    shells.iter_mut().for_each(|shell| shell.tell(&first));
    let mut ran = 0;
    for block in blocks {
        let shell = usize::from(block.info.contains("second shell"));
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
