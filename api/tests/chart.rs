//! Every setting that the chart gives the server exists.

use clap::CommandFactory as _;
use cloud_dragon::config::Arguments;
use std::collections::BTreeSet;

#[test]
fn every_setting_of_the_chart_exists() {
    let chart = include_str!("../../helm/templates/statefulset.yaml");
    let names = chart.lines().filter_map(|line| line.trim().strip_prefix("- name: DRAGON_"));
    let given: BTreeSet<String> = names.map(|name| format!("DRAGON_{name}")).collect();
    let command = Arguments::command();
    let known: BTreeSet<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
        .collect();
    assert!(given.len() >= 4, "the chart gives {given:?}");
    assert!(given.is_subset(&known), "the chart gives {given:?}, the server knows {known:?}");
}
