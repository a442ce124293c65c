//! Counters that only grow, from which numbers are reserved, and others that are set, compared and deleted as well.

use super::{Crew, Worker};
use serde_json::{Value, json};

/// Counters that only ever get more: `sum/0` and so on.
const SUMS: usize = 2;
/// Counters to which everything happens: `free/0` and so on.
const FREE: usize = 3;
/// The counter that is near its end.
const EDGE: &str = "free/edge";

/// Adds to, sets, compares and deletes counters until the course ends.
pub async fn counters(crew: Crew) {
    let mut worker = crew.worker();
    // What the free counters were when last seen.
    let mut seen = [0; FREE];
    while worker.course.goes_on() {
        match worker.random.below(100) {
            0..40 => {
                let body = sums(&mut worker);
                worker.db(body).await;
            }
            40..92 => free(&mut worker, &mut seen).await,
            _ => {
                let entry = if worker.random.chance(30) {
                    json!({"Key": EDGE, "Set": i64::MAX - 1})
                } else {
                    json!({"Key": EDGE, "Add": worker.random.within(1..=3)})
                };
                // All or nothing, also where only the last of them passes the limit.
                worker.db(json!({"Atomic": [{"Key": "sum/0", "Add": 1}, entry]})).await;
            }
        }
    }
}

/// Takes the next number, reserves a range, takes from several at once, or only looks.
fn sums(worker: &mut Worker) -> Value {
    let key = |number: usize| format!("sum/{number}");
    let one = worker.random.below(SUMS);
    match worker.random.below(10) {
        0..5 => json!({"Atomic": [{"Key": key(one), "Add": 1}]}),
        5..7 => json!({"Atomic": [{"Key": key(one), "Add": worker.random.within(2..=100)}]}),
        7..9 => {
            let all: Vec<Value> = (0..SUMS).map(|number| json!({"Key": key(number), "Add": 1})).collect();
            json!({"Atomic": all})
        }
        _ => {
            let all: Vec<Value> = (0..SUMS).map(|number| json!({"Key": key(number)})).collect();
            json!({"Atomic": all})
        }
    }
}

async fn free(worker: &mut Worker, seen: &mut [i64; FREE]) {
    let number = worker.random.below(FREE);
    let mut entry = json!({"Key": format!("free/{number}")});
    let amount = i64::try_from(worker.random.within(0..=10)).unwrap_or_default() - 5;
    match worker.random.below(10) {
        0..3 => entry["Set"] = json!(worker.course.unique()),
        3..6 => entry["Add"] = json!(amount),
        6..8 => entry["Delete"] = json!(true),
        _ => {}
    }
    if worker.random.chance(40) {
        // Now and then one that is not so.
        let off = i64::from(worker.random.chance(25));
        entry["IfEq"] = json!(seen[number] + off);
    }
    let told = worker.db(json!({"Atomic": [entry]})).await;
    let shown = match (told.applied(), told.refused()) {
        (Some(answer), _) => &answer["Atomic"][0]["Value"],
        (None, Some(refusal)) => &refusal["Value"],
        (None, None) => return,
    };
    seen[number] = shown.as_i64().unwrap_or_default();
}
