//! The examples of the OpenAPI document are one story, told here to a real server in the document's order.

use crate::access::TokensFile;
use crate::backups::settings;
use crate::support::{Answer, Connection, Server};
use dragon_private_s3::PrivateS3;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

const DOCUMENT: &str = include_str!("../../../openapi/cloud-dragon.json");
const STORY: &str = include_str!("../../../openapi/examples.json");
/// What is different each time, beside moments: only its type is compared.
const VARYING: [&str; 4] = ["LastID", "StoreID", "Bytes", "To"];
/// Moments: they must be about now.
const MOMENTS: [&str; 4] = ["Till", "Since", "Time", "LastTime"];

struct Teller {
    server: Server,
    /// Method and path of each operation.
    routes: HashMap<String, (String, String)>,
    /// The tokens by what the story calls them.
    tokens: HashMap<&'static str, String>,
}

impl Teller {
    async fn tell(&self, step: &Map<String, Value>) -> Answer {
        let text = |name: &str| step.get(name).and_then(Value::as_str);
        let (method, path) = &self.routes[text("operation").unwrap()];
        let query = text("query").map(|query| format!("?{query}")).unwrap_or_default();
        let path = path.replace("{account}", text("account").unwrap_or_default());
        let mut head = format!("{} {path}{query} HTTP/1.1\r\nHost: localhost\r\n", method.to_uppercase());
        if let Some(token) = self.tokens.get(text("token").unwrap_or("admin")) {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        let body = match step.get("request") {
            Some(Value::String(lines)) => {
                head += "Content-Type: application/x-ndjson\r\n";
                lines.clone()
            }
            Some(request) => {
                head += &format!("Content-Type: {}\r\n", text("media").unwrap_or("application/json"));
                request.to_string()
            }
            None => String::new(),
        };
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        Connection::open(self.server.address()).await.exchange((head + &body).as_bytes()).await
    }
}

/// Compares an answer with the example: all of it but what can't be the same.
fn compare(example: &Value, answer: &Value, place: &str) {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            let names = |object: &Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(example), names(answer), "{place}");
            for (name, example) in example {
                compare_field(name, example, &answer[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(example), Value::Array(answer)) => {
            assert_eq!(example.len(), answer.len(), "{place}");
            for (at, (example, answer)) in example.iter().zip(answer).enumerate() {
                compare(example, answer, &format!("{place}[{at}]"));
            }
        }
        _ => assert_eq!(example, answer, "{place}"),
    }
}

fn compare_field(name: &str, example: &Value, answer: &Value, place: &str) {
    let is_backup = place.contains("Backup") && name == "ID";
    if MOMENTS.contains(&name) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(example.is_u64() && answer.as_u64().unwrap().abs_diff(now) < 3_600, "{place}: {answer}");
    } else if is_backup || VARYING.contains(&name) {
        assert_eq!(std::mem::discriminant(example), std::mem::discriminant(answer), "{place}");
    } else {
        compare(example, answer, place);
    }
}

fn routes() -> HashMap<String, (String, String)> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut routes = HashMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            routes.insert(id.to_owned(), (method.clone(), path.clone()));
        }
    }
    routes
}

#[tokio::test]
async fn the_examples_of_the_document_are_what_happens() {
    let (s3, tokens) = (PrivateS3::start(), TokensFile::new());
    let admin = tokens.token("all", "*", "admin").await;
    let read = tokens.token("reader", "*", "read").await;
    let path = tokens.path().display().to_string();
    let settings = settings(&s3, &[("DRAGON_TOKENS", &path), ("DRAGON_BACKUP_EVERY", "never")]);
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start_with(&settings);
    let teller = Teller { server, routes: routes(), tokens: [("admin", admin), ("read", read)].into() };

    let story: Vec<Map<String, Value>> = serde_json::from_str(STORY).unwrap();
    for step in &story {
        let name = format!("{} {}", step["operation"], step["name"]);
        let answer = teller.tell(step).await;
        assert_eq!(u64::from(answer.status), step["status"].as_u64().unwrap(), "{name}: {}", answer.text());
        match step.get("response") {
            None => assert!(answer.body.is_empty(), "{name}: {}", answer.text()),
            Some(Value::String(lines)) => assert_eq!(lines, answer.text(), "{name}"),
            Some(example) => compare(example, &answer.json(), &name),
        }
    }
    let told: HashSet<&str> = story.iter().filter_map(|step| step["operation"].as_str()).collect();
    let untold: Vec<_> = teller.routes.keys().filter(|id| !told.contains(id.as_str())).collect();
    assert_eq!(untold, ["getMetrics"], "each operation but that one has an example");
}
