//! Every setting that the chart gives the server exists: in what `helm/check.sh` has the chart rendered to.

use clap::CommandFactory as _;
use cloud_dragon::config::Arguments;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_setting_of_the_chart_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/tests/golden");
    let mut given = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let rendered = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let names = rendered.lines().filter_map(|line| line.trim().strip_prefix("- name: DRAGON_"));
        given.extend(names.map(|name| format!("DRAGON_{name}")));
    }
    let command = Arguments::command();
    let known: BTreeSet<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
        .collect();
    assert!(given.len() >= 30, "the chart gives {given:?}");
    let unknown: Vec<&String> = given.difference(&known).collect();
    assert!(unknown.is_empty(), "the server does not know {unknown:?}");
}
