//! Values that are read, written, swapped and deleted, with and without conditions, alone and together.

use super::{Crew, REGISTERS, Worker, register};
use crate::load::client::Told;
use serde_json::{Map, Value, json};

/// What the last answer said of each key's version; 0 where nothing is known.
type Seen = [u64; REGISTERS];

/// Reads and writes the registers until the course ends.
pub async fn registers(crew: Crew) {
    let mut worker = crew.worker();
    let mut seen = Seen::default();
    while worker.course.goes_on() {
        let keys = some_keys(&mut worker);
        let body = match worker.random.below(100) {
            0..22 => json!({"KVGet": gets(&keys)}),
            22..62 => {
                let key = keys[0];
                json!({"KVSet": [set(&mut worker, key, &seen)]})
            }
            // The state before is read: a swap.
            62..76 => {
                let key = keys[0];
                json!({"KVGet": gets(&[key]), "KVSet": [set(&mut worker, key, &seen)]})
            }
            // Several keys get one value: whoever reads them together sees whether that was one moment.
            _ => {
                let condition = worker.random.below(3);
                together(&mut worker, &keys, (condition == 0).then_some(&seen))
            }
        };
        let told = worker.db(body.clone()).await;
        learn(&body, &told, &mut seen);
    }
}

/// One to three keys, each once.
fn some_keys(worker: &mut Worker) -> Vec<usize> {
    let (first, count) = (worker.random.below(REGISTERS), 1 + worker.random.below(3));
    let step = 1 + worker.random.below(REGISTERS - 1);
    (0..count).map(|at| (first + at * step) % REGISTERS).collect()
}

fn gets(keys: &[usize]) -> Vec<Value> {
    keys.iter().map(|key| json!({"Key": register(*key)})).collect()
}

/// A write of one key: mostly a value, now and then for some seconds only, or a deletion; half of them conditional.
fn set(worker: &mut Worker, key: usize, seen: &Seen) -> Value {
    let mut entry = Map::from_iter([("Key".to_owned(), json!(register(key)))]);
    if worker.random.chance(15) {
        entry.insert("Delete".to_owned(), json!(true));
    } else {
        entry.insert("Value".to_owned(), worker.unique_value());
        if worker.random.chance(15) {
            entry.insert("TTL".to_owned(), json!(worker.random.within(1..=3)));
        }
    }
    if worker.random.chance(50) {
        entry.insert("IfVersion".to_owned(), json!(seen[key]));
    }
    Value::Object(entry)
}

fn together(worker: &mut Worker, keys: &[usize], condition: Option<&Seen>) -> Value {
    let value = worker.unique_value();
    let mut writes: Vec<Value> =
        keys.iter().map(|key| json!({"Key": register(*key), "Value": value})).collect();
    if let Some(seen) = condition {
        writes[0]["IfVersion"] = json!(seen[keys[0]]);
    }
    if worker.random.chance(50) {
        json!({"KVSet": writes, "KVGet": gets(keys)})
    } else {
        json!({"KVSet": writes})
    }
}

/// Takes the versions from an answer.
fn learn(body: &Value, told: &Told, seen: &mut Seen) {
    let mut note = |key: &Value, version: &Value| {
        let number = key.as_str().and_then(|key| key.strip_prefix("r/")?.parse::<usize>().ok());
        let (Some(number), Some(version)) = (number, version.as_u64()) else { return };
        if let Some(known) = seen.get_mut(number) {
            *known = version;
        }
    };
    if let Some(refusal) = told.refused() {
        note(&refusal["Key"], &refusal["Version"]);
    }
    let Some(answer) = told.applied() else { return };
    for read in answer["KV"].as_array().into_iter().flatten() {
        note(&read["Key"], &read["Version"]);
    }
    // The reads were of the state before.
    for write in body["KVSet"].as_array().into_iter().flatten() {
        let version = if write["Delete"] == true { json!(0) } else { answer["Version"].clone() };
        note(&write["Key"], &version);
    }
}
