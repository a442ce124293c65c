//! The guide for shells prints what the commands print.

use crate::server::{Server, forget_settings};
use crate::shell::{Shell, blocks};
use std::env;
use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/clients/shell.md");

#[test]
fn the_guide_for_shells_prints_what_it_says() {
    let server = Server::start();
    let programs = Path::new(env!("CARGO_BIN_EXE_cloud-dragon")).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path))).unwrap();
    let mut bash = Command::new("bash");
    forget_settings(&mut bash);
    bash.env("PATH", path).env("DRAGON_SERVER", format!("http://{}", server.address));
    let mut shell = Shell::start(&mut bash, str::to_owned);
    shell.tell("exec 2>&1\n");
    let blocks = blocks(GUIDE);
    assert!(blocks.len() >= 6, "only {} blocks were found", blocks.len());
    for block in blocks {
        shell.begin(block);
        shell.finish();
    }
}
