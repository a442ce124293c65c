//! What is made of a run.

use crate::bug::Bug;
use crate::plan::Plan;
use crate::run::{Run, run};
use dragon_checker::{Expectations, Report, check};

/// How long whoever waits may take to be told once all is calm, in simulated microseconds, …
const GRACE_US: u64 = 5_000_000;
/// … and so many steps of the store at its slowest, one after another: frontends that share a store get in each
/// other's way, and a look that has to mark an expiry is a commit.
const SLOW_STEPS: u64 = 40;

/// A run and what was found in it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The run.
    pub run: Run,
    /// The checkers' report.
    pub report: Report,
    /// What must not be, in words: the report's violations, panics, a run without an end.
    pub problems: Vec<String>,
}

impl Judged {
    /// Whether nothing was found that must not be. Accounts whose linearizability could not be decided within the
    /// search's bounds are no such thing; they are in the [`report`](Self::report).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Plays a seed and judges it.
#[must_use]
pub fn judge(seed: u64, bug: Option<Bug>) -> Judged {
    let run = run(seed, bug);
    let grace_us = GRACE_US + SLOW_STEPS * Plan::new(seed, bug).delay_ms_max * 1_000;
    let report = check(&run.history, &Expectations { grace_us });
    let mut problems: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    if run.panics > 0 {
        problems.push(format!("{} tasks panicked", run.panics));
    }
    if !run.has_ended {
        problems.push("the run does not end".to_owned());
    }
    Judged { run, report, problems }
}
