//! JSON as text: fields cut out of answers without reading them, so that bytes can be compared.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The bytes of a field of an object.
pub fn raw_field(object: &str, name: &str) -> Option<String> {
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(object).unwrap_or_else(|error| panic!("{error}: {object}"));
    fields.remove(name).map(|raw| raw.get().to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    key: String,
    version: u64,
    #[serde(default, deserialize_with = "present")]
    value: Option<Box<RawValue>>,
}

/// A value that is `null` is there all the same.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

fn shown(answer: &str) -> Vec<Shown> {
    let array = raw_field(answer, "KV").unwrap_or_else(|| panic!("no KV in {answer}"));
    serde_json::from_str(&array).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The version of the first entry of an answer's `KV`.
pub fn first_version(answer: &str) -> u64 {
    shown(answer)[0].version
}

/// The keys of an answer's `KV`, each with the bytes of its value.
pub fn raw_values(answer: &str) -> Vec<(String, Option<String>)> {
    shown(answer).into_iter().map(|entry| (entry.key, entry.value.map(|raw| raw.get().to_owned()))).collect()
}

/// A string as JSON.
pub fn json_text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
