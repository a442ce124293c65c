//! Pages of values, counters and locks.

use super::Crew;
use serde_json::{Value, json};
use std::time::Duration;

const PREFIXES: [&str; 7] = ["", "", "r/", "pay/", "s", "lock/", "nothing/"];
const REST: Duration = Duration::from_millis(150);

/// Turns pages until the course ends.
pub async fn lists(crew: Crew) {
    let mut worker = crew.worker();
    while worker.course.goes_on() {
        let kind = ["KV", "Counters", "Locks"][worker.random.below(3)];
        let mut body = json!({"Prefix": PREFIXES[worker.random.below(PREFIXES.len())]});
        // The kind that is meant where none is given.
        if kind != "KV" || worker.random.chance(50) {
            body["Kind"] = json!(kind);
        }
        if worker.random.chance(70) {
            body["Limit"] = json!(worker.random.within(1..=8));
        }
        if worker.random.chance(20) {
            body["After"] = json!(format!("r/{}", worker.random.below(4)));
        }
        // Some go on to the next pages.
        for _ in 0..1 + worker.random.below(3) {
            let told = worker.list(body.clone()).await;
            let Some(last) = told.applied().and_then(|page| last_of(page, kind)) else { break };
            body["After"] = last;
        }
        worker.course.pause(REST).await;
    }
}

/// The last name on a page that others come after.
fn last_of(page: &Value, kind: &str) -> Option<Value> {
    let last = page[kind].as_array()?.last()?;
    let name = if kind == "Locks" { &last["ID"] } else { &last["Key"] };
    (page["More"] == true).then(|| name.clone())
}
