//! Watchers that sleep over a change, go back, or never see the last version.

use crate::story::Story;
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};

const CHECKER: &str = "watches";

fn set(value: u64) -> Value {
    json!({"KVSet": [{"Key": "k", "Value": value}]})
}

fn watch(story: Story, times_ms: (u64, u64), seen: u64, told: Option<u64>) -> Story {
    let body = json!({"ID": "k", "Version": seen, "Wait": 10});
    match told {
        None => story.told(times_ms, Endpoint::Watch, body, 204, Value::Null),
        Some(version) => {
            let answer = json!({"Key": "k", "Version": version, "Value": version});
            story.told(times_ms, Endpoint::Watch, body, 200, answer)
        }
    }
}

fn two_versions() -> Story {
    Story::new().db((0, 10), set(1), 200, json!({"Version": 1})).db(
        (1_000, 1_010),
        set(2),
        200,
        json!({"Version": 2}),
    )
}

#[test]
fn nobody_sleeps_over_a_change() {
    assert_eq!(watch(two_versions(), (100, 1_100), 1, Some(2)).is_clean().looked_at.woken_watches, 1);
    watch(two_versions(), (100, 9_000), 1, Some(2)).is_refused_by(CHECKER);
    watch(two_versions(), (100, 10_100), 1, None).is_refused_by(CHECKER);
    watch(two_versions(), (100, 9_000), 1, Some(2)).disturbed((900, 8_000)).is_clean();
}

#[test]
fn versions_rise() {
    let rising = watch(watch(two_versions(), (20, 30), 0, Some(1)).by(9), (40, 1_100), 1, Some(2)).by(9);
    rising.is_clean();
    let falling =
        watch(watch(two_versions(), (1_020, 1_030), 1, Some(2)).by(9), (1_040, 1_050), 2, Some(1)).by(9);
    falling.is_refused_by(CHECKER);
}

#[test]
fn the_last_version_is_seen() {
    let list = json!({"KV": [{"Key": "k", "Version": 2, "Value": 2}]});
    let ended = |seen: u64| {
        watch(two_versions(), (2_000, 2_500), seen, None).told(
            (3_000, 3_010),
            Endpoint::List,
            json!({}),
            200,
            list.clone(),
        )
    };
    ended(2).is_clean();
    ended(1).is_refused_by(CHECKER);
}

#[test]
fn creation_and_expiry_wake() {
    let created = |till_ms: u64| {
        let story = Story::new().db((1_000, 1_010), set(1), 200, json!({"Version": 1}));
        watch(story, (0, till_ms), 0, Some(1))
    };
    created(1_100).is_clean();
    created(9_000).is_refused_by(CHECKER);
    let short = json!({"KVSet": [{"Key": "k", "Value": 1, "TTL": 1}]});
    let expired = |till_ms: u64| {
        let story = Story::new().db((0, 10), short.clone(), 200, json!({"Version": 1}));
        let body = json!({"ID": "k", "Version": 1, "Wait": 10});
        story.told((20, till_ms), Endpoint::Watch, body, 200, json!({"Key": "k", "Version": 0}))
    };
    expired(1_100).is_clean();
    expired(9_000).is_refused_by(CHECKER);
}
