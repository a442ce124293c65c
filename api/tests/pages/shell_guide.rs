//! The guide for shells prints what the commands print.

use crate::server::{Server, find_program, forget_settings};
use crate::shell::{Shell, blocks};
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/clients/shell.md");

#[test]
fn the_guide_for_shells_prints_what_it_says() {
    let server = Server::start();
    let mut bash = Command::new("bash");
    forget_settings(&mut bash);
    find_program(&mut bash, None);
    bash.env("DRAGON_SERVER", format!("http://{}", server.address));
    let mut shell = Shell::start(&mut bash, str::to_owned);
    shell.tell("exec 2>&1\n");
    let blocks = blocks(GUIDE);
    assert!(blocks.len() >= 6, "only {} blocks were found", blocks.len());
    for block in blocks {
        shell.begin(block);
        shell.finish();
    }
}
