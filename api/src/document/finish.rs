//! What the framework's document lacks, for those who check it and for the generators of clients.

use super::examples;
use serde_json::{Value, json};

/// The objects of requests: fields that are not known are refused in them.
const CLOSED: [&str; 6] =
    ["TransactRequest", "AtomicOperation", "SetOperation", "GetOperation", "ListRequest", "WatchRequest"];
/// What asks for no token, whatever the server's settings.
const FOR_ALL: [&str; 2] = ["/health/live", "/health/ready"];

/// Finishes a document that the framework has made.
///
/// # Panics
/// When it is not JSON, or an example is of no operation: both are the program's own.
pub(crate) fn finish(document: &str) -> String {
    let mut document = serde_json::from_str(document).expect("the framework writes JSON");
    tidy(&mut document);
    for name in CLOSED {
        document["components"]["schemas"][name]["additionalProperties"] = false.into();
    }
    for path in FOR_ALL {
        document["paths"][path]["get"]["security"] = json!([]);
    }
    document["servers"][0]["description"] =
        "Where the server listens when it is not told otherwise. Clients are given their server's address."
            .into();
    examples::add(&mut document);
    serde_json::to_string_pretty(&document).expect("JSON can be written") + "\n"
}

/// Goes through all of it, the innermost first.
fn tidy(part: &mut Value) {
    match part {
        Value::Array(parts) => parts.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            fields.values_mut().for_each(tidy);
            fields.retain(|name, value| !is_default(name, value));
            keep_reference(part);
            name_size(part);
        }
        _ => {}
    }
}

/// What the framework says of every parameter although it is so anyway.
fn is_default(name: &str, value: &Value) -> bool {
    matches!((name, value), ("deprecated", Value::Bool(false)) | ("explode", Value::Bool(true)))
}

/// A description beside a reference is the property's own; said once more within `allOf`, it is another schema to generators.
fn keep_reference(schema: &mut Value) {
    if let Some(Value::Array(all)) = schema.get_mut("allOf") {
        all.retain(|one| one.get("$ref").is_some());
    }
}

/// Every whole number in the contract fits the signed types, which all languages have: `uint64` is not OpenAPI's own format,
/// and generators that don't know it take 32 bits.
fn name_size(schema: &mut Value) {
    for limit in ["minimum", "maximum"] {
        if let Some(number) = schema.get(limit).and_then(Value::as_f64) {
            // Limits are written as fractions by the framework. All of them are whole and exact.
            #[allow(clippy::cast_possible_truncation, reason = "limits are whole numbers far below 2^53")]
            let whole = number as i64;
            schema[limit] = whole.into();
        }
    }
    if schema.get("format").is_some_and(|format| format == "uint64") {
        let is_small =
            schema.get("maximum").and_then(Value::as_i64).is_some_and(|max| i32::try_from(max).is_ok());
        schema["format"] = if is_small { "int32" } else { "int64" }.into();
        if schema.get("minimum").is_none() {
            schema["minimum"] = 0.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_signed_and_as_small_as_their_maximum() {
        let mut schema = json!({
            "a": {"format": "uint64", "maximum": 300.0},
            "b": {"format": "uint64", "maximum": 3_153_600_000.0, "minimum": 1.0},
            "c": {"format": "int64"},
        });
        tidy(&mut schema);
        assert_eq!(schema["a"], json!({"format": "int32", "maximum": 300, "minimum": 0}));
        assert_eq!(schema["b"], json!({"format": "int64", "maximum": 3_153_600_000_i64, "minimum": 1}));
        assert_eq!(schema["c"], json!({"format": "int64"}));
    }

    #[test]
    fn a_reference_keeps_its_description_outside() {
        let mut schema =
            json!({"description": "d", "allOf": [{"$ref": "#/x"}, {"description": "d"}], "explode": true});
        tidy(&mut schema);
        assert_eq!(schema, json!({"description": "d", "allOf": [{"$ref": "#/x"}]}));
    }
}
