//! Leases that end early, by a clock that nobody knows exactly.

use crate::story::{Story, ZERO_S};
use serde_json::json;

#[test]
fn a_lease_ends_at_its_till() {
    let take = |dur_s: u64| json!({"LockID": "l", "LockDur": dur_s, "LockWait": 20});
    let story = |granted_s: u64| {
        let expired = json!({"Lock": 2, "Till": ZERO_S + granted_s + 10, "Expired": true, "Version": 2});
        Story::new()
            .clock_off_by(60_000)
            .db((0, 10), take(5), 200, json!({"Lock": 1, "Till": ZERO_S + 5, "Version": 1}))
            .db((20, 5_000), take(10), 200, expired)
    };
    assert_eq!(story(5).is_clean().looked_at.takeovers, 1);
    story(4).is_refused_by("leases");
    // Giving back what was lost by then excuses nothing.
    story(4).lost((20_000, 20_010), json!({"UnlockID": "l", "Unlock": 1})).is_refused_by("leases");
}
