//! The generated clients: for each language its guide is walked as it stands, from nothing to the first lock, and its scenario is
//! run against a real server. A language whose tools are missing is skipped, and that is said.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod guide;
mod language;
mod losing_proxy;
#[path = "../common/server.rs"]
mod server;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() {
    let trials = language::LANGUAGES.iter().flat_map(|language| {
        let quotes = Trial::test(format!("{}: quotes of the guide", language.name), || {
            guide::check_quotes(language);
            Ok(())
        });
        let walk = Trial::ignorable_test(format!("{}: guide and scenario", language.name), || {
            Ok(language.try_it().map_or(Completion::Completed, Completion::ignored_with))
        });
        [quotes, walk]
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
