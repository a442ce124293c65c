//! Generates the client from the OpenAPI document.

use std::error::Error;
use std::path::Path;
use std::{env, fs, iter};

use progenitor::{GenerationSettings, Generator, HooksMode, TypePatch};
use serde_json::{Value, json};

#[path = "src/timeout.rs"]
mod timeout;

/// Requests of which not all fields are optional: with a default they are written with the fields that matter.
const WITH_DEFAULT: [&str; 4] = ["AtomicOperation", "GetOperation", "SetOperation", "WatchRequest"];

fn main() -> Result<(), Box<dyn Error>> {
    // A relative path starts at the repository's root.
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let path = root.join(env::var("DRAGON_DOCUMENT").unwrap_or("openapi/cloud-dragon.json".to_owned()));
    println!("cargo::rerun-if-env-changed=DRAGON_DOCUMENT");
    println!("cargo::rerun-if-changed={}", path.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/timeout.rs");

    let document = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut document = serde_json::from_slice(&document)?;
    prepare(&mut document);

    let tokens = Generator::new(&settings()).generate_tokens(&serde_json::from_value(document)?)?;
    let code = prettyplease::unparse(&syn::parse2(tokens)?);
    fs::write(Path::new(&env::var("OUT_DIR")?).join("generated.rs"), code)?;
    Ok(())
}

fn settings() -> GenerationSettings {
    let mut settings = GenerationSettings::new();
    settings.with_timeout(timeout::SECONDS);
    // In src/lib.rs, for the 204 of a watch.
    settings.with_hooks(HooksMode::Expected);
    // The schema that allows all JSON: its text, and not serde_json's `Value`, which loses bytes of it.
    settings.with_conversion(Default::default(), "crate::Json", iter::empty());
    for name in WITH_DEFAULT {
        settings.with_patch(name, TypePatch::default().with_derive("Default"));
    }
    settings
}

/// Says what the document says in a way that progenitor takes.
fn prepare(document: &mut Value) {
    // It takes one type of successful answers: the state of the key, or nothing for the 204 without a body.
    let responses = &mut document["paths"]["/watch/{account}"]["post"]["responses"];
    let schema = &mut responses["200"]["content"]["application/json"]["schema"];
    *schema = json!({ "nullable": true, "allOf": [schema.take()] });
    responses["204"]["content"] = responses["200"]["content"].clone();

    // It knows few types of bodies that are not JSON. The server takes this one as well.
    let body = &mut document["paths"]["/import/{account}"]["post"]["requestBody"];
    body["content"] =
        json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } });

    drop_limits(document);
}

/// Takes away the limits of strings, numbers and arrays, each of which would become a type of its own with checks in it.
/// The server checks them, and says in its message what to change.
fn drop_limits(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for limit in ["maximum", "maxLength", "minimum", "minLength", "pattern", "uniqueItems"] {
                fields.remove(limit);
            }
            fields.values_mut().for_each(drop_limits);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_limits),
        _ => {}
    }
}
