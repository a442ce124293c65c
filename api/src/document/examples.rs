//! Requests and answers that the document shows. They are one story, which a test tells a real server
//! (`api/tests/blackbox/examples.rs`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

const STORY: &str = include_str!("../../../openapi/examples.json");

/// A request and its answer, as far as the document shows them; what else the file says of them is the test's.
#[derive(Deserialize)]
struct Example {
    operation: String,
    name: String,
    summary: String,
    request: Option<Value>,
    status: u16,
    response: Option<Value>,
}

/// Puts the examples where their operations are.
pub(super) fn add(document: &mut Value) {
    let story: Vec<Example> = serde_json::from_str(STORY).expect("the story is JSON");
    for example in &story {
        let operation = operation(document, &example.operation);
        // What is invalid, or sent in a wrong way, is no example of what to send; its answer shows what then happens.
        let is_to_be_sent = !matches!(example.status, 400 | 401 | 403 | 415);
        if let Some(request) = example.request.as_ref().filter(|_| is_to_be_sent) {
            add_to(&mut operation["requestBody"], example, request);
        }
        if let Some(response) = &example.response {
            add_to(&mut operation["responses"][example.status.to_string()], example, response);
        }
    }
}

fn operation<'a>(document: &'a mut Value, id: &str) -> &'a mut Value {
    let paths = document["paths"].as_object_mut().expect("there are paths");
    let mut operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    operations.find(|operation| operation["operationId"] == id).expect("an example is of an operation")
}

fn add_to(body: &mut Value, example: &Example, value: &Value) {
    let content = body["content"].as_object_mut().expect("what an example is of has a body");
    let media = content.values_mut().next().expect("a body has a media type");
    media["examples"][&example.name] = json!({"summary": example.summary, "value": value});
}
