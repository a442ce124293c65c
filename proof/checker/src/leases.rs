//! Leases: none ends early by the store's clock. That one who waits takes over in time is for the locks to check.

use crate::check::{Report, Scope};
use crate::holds::{Hold, Holds};

pub(crate) fn check(scope: &Scope<'_>, by_lock: &Holds<'_>, report: &mut Report) {
    for (lock, holds) in by_lock {
        for pair in holds.windows(2) {
            let [before, after] = pair else { continue };
            if before.given_back_us.is_some_and(|given_back_us| given_back_us <= after.returned_us) {
                continue;
            }
            report.looked_at.takeovers += 1;
            // Whole seconds of the same clock, both rounded down.
            let granted_s = after.first_till_s - after.dur_s.min(after.first_till_s);
            if granted_s < before.till_s {
                report_early(scope, lock, (before, after), granted_s, report);
            }
        }
    }
}

fn report_early(
    scope: &Scope<'_>,
    lock: &str,
    (before, after): (&Hold<'_>, &Hold<'_>),
    granted_s: u64,
    report: &mut Report,
) {
    let what = format!(
        "{lock} went from handle {} to {} at second {granted_s} of the store, before its lease ended at {}",
        before.handle, after.handle, before.till_s
    );
    report.add("leases", scope.account, what, vec![before.operation, after.operation]);
}
