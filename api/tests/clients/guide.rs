//! A guide as a newcomer reads it: files to write, commands to run, in this order, and snippets.

use crate::language::{Language, root, run, succeeded};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Where the guides say that the server is.
const ADDRESS: &str = "127.0.0.1:8080";
/// What a snippet is marked with that no scenario has.
const NOT_QUOTED: &str = "not from the scenario";

/// What is between two fences, and what stands beside the first one.
struct Block<'a> {
    info: &'a str,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(Block { info, text: text.map(|line| format!("{line}\n")).collect() });
        }
    }
    blocks
}

/// Does what the guide says, in the repository's root, with a server at another address. What it says is printed must be.
pub fn walk(page: &str, server: SocketAddr) {
    let mut printed = String::new();
    let mut ran = 0;
    for block in blocks(page) {
        let text = block.text.replace(ADDRESS, &server.to_string());
        if let Some((_, path)) = block.info.split_once(" file=") {
            let path = root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        } else if block.info == "sh" {
            let mut shell = Command::new("sh");
            crate::server::forget_settings(&mut shell);
            shell.args(["-euc", &text]).current_dir(root());
            printed = succeeded(&text, &run(shell));
            ran += 1;
        } else if block.info == "console" {
            let missing = text.lines().find(|line| !printed.lines().any(|other| other == *line));
            assert!(missing.is_none(), "the guide says that this is printed: {missing:?}\n{printed}");
        }
    }
    assert!(ran >= 2, "the guide has no commands");
}

/// Requires that each snippet of the guide is in the sources of its language: those are run.
pub fn check_quotes(language: &Language) {
    let sources = without_space(&sources(&language.folder(), language.extension));
    let guide = language.guide();
    let blocks = blocks(&guide);
    let snippets = blocks.iter().filter(|block| block.info == language.marked);
    let mut quoted = 0;
    for snippet in snippets {
        // Piece by piece: what stands between two functions may be left out.
        let missing = snippet.text.split("\n\n").find(|piece| !sources.contains(&without_space(piece)));
        assert!(missing.is_none(), "no source in clients/{} has this:\n{}", language.name, missing.unwrap());
        quoted += 1;
    }
    assert!(quoted >= 3, "only {quoted} snippets were found");
    for block in &blocks {
        let is_known = ["sh", "console", language.marked].contains(&block.info)
            || block.info.contains(" file=")
            || block.info.ends_with(NOT_QUOTED);
        assert!(is_known, "a block that nobody checks: {}", block.info);
    }
}

fn sources(folder: &Path, extension: &str) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path, extension);
        } else if path.extension().is_some_and(|found| found == extension) {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// Lines are indented and broken otherwise in a page.
fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}
