//! The OpenAPI document: what the framework makes of the routes, finished with what it has no words for, and with examples.

mod examples;
mod finish;

pub(crate) use finish::finish;

/// What the document says first: what clients of every language have to know.
pub(crate) const DESCRIPTION: &str = include_str!("../../../openapi/description.md");
