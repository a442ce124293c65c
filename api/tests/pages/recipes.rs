//! The recipes are followed as they are printed, by one shell with the scripts of the page at hand, and must print what the page
//! says. Only times may differ.

use crate::server::{Server, find_program, forget_settings};
use crate::shell::{Shell, blocks, without_numbers_after};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../../docs/recipes.md");
/// What the page has of each, at least.
const BLOCKS: usize = 30;
const SCRIPTS: usize = 5;
const RECIPES: usize = 7;

/// The line with every time made the same.
fn without_times(line: &str) -> String {
    without_numbers_after(&["\"Till\":", "\"Since\":"], line)
}

fn write_script(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Puts the page's scripts, which are blocks marked as `sh NAME`, into a folder. How many there were.
fn write_scripts(folder: &Path) -> usize {
    let scripts = PAGE.split("\n```sh ").skip(1).map(|part| {
        let (name, rest) = part.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        write_script(folder, name, text);
    });
    scripts.count()
}

/// A bash in this folder with the program on its path, behind what the folder has, and nothing set of it.
fn bash(folder: &Path) -> Command {
    let mut bash = Command::new("bash");
    forget_settings(&mut bash);
    find_program(&mut bash, Some(folder));
    bash.current_dir(folder);
    bash
}

/// A shell whose errors are seen, as on a terminal.
fn start_shell(folder: &Path) -> Shell {
    let mut shell = Shell::start(&mut bash(folder), without_times);
    shell.tell("exec 2>&1\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\n");
    shell
}

#[test]
fn every_recipe_does_what_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    assert!(write_scripts(folder.path()) >= SCRIPTS, "scripts are missing");
    let (_, recipes) = PAGE.split_once("\n## ").unwrap();
    assert!(recipes.split("\n## ").count() >= RECIPES, "recipes are missing");

    let mut shell = start_shell(folder.path());
    let mut ran = 0;
    for mut block in blocks(PAGE) {
        block.commands = block.commands.replace("127.0.0.1:8080", &server.address.to_string());
        shell.begin(block);
        shell.finish();
        ran += 1;
    }
    assert!(ran >= BLOCKS, "only {ran} blocks were found");
}

/// The line of the crontab, as cron runs it on three machines at the same moment.
#[test]
fn the_line_of_the_crontab_does_the_job_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    write_scripts(folder.path());
    write_script(folder.path(), "report", "#!/bin/sh\necho report >> reports");
    // No day must end meanwhile.
    write_script(folder.path(), "date", "#!/bin/sh\n[ \"$*\" = '-u +%F' ] && echo 2026-11-27");

    let (_, after) = PAGE.split_once("\n```crontab\n").unwrap();
    let line = after.split('\n').next().unwrap();
    let command = line.strip_prefix("0 3 * * * ").unwrap().replace("\\%", "%");
    let run = || {
        let mut bash = bash(folder.path());
        bash.env("DRAGON_SERVER", format!("http://{}", server.address)).args(["-c", &command]);
        bash.stderr(Stdio::null()).spawn().unwrap()
    };
    let machines = [(); 3].map(|()| run());
    machines.into_iter().for_each(|mut machine| assert!(machine.wait().unwrap().success()));
    assert_eq!(fs::read_to_string(folder.path().join("reports")).unwrap(), "report\n");
}
