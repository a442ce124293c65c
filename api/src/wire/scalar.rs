//! Values that JSON types do not cover: a raw value, and a handle.

use super::list::ListKind;
use bytes::Bytes;
use dragon_core::limits::ACCOUNT_BYTES_MAX;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// Any JSON value, kept byte for byte.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct RawJson(pub Box<RawValue>);

impl RawJson {
    /// The JSON's bytes, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let text: Box<str> = self.0.into();
        Bytes::from(text.into_boxed_bytes())
    }
}

/// Reads a field in which `null` is a value like any other, not the same as absent.
///
/// # Errors
/// When it is no JSON.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawJson>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

/// The handle of a lock: a number, or a string of its digits for languages whose numbers are too
/// small for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Handle(pub u64);

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HandleVisitor;

        impl Visitor<'_> for HandleVisitor {
            type Value = Handle;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a handle: a whole number or a string of digits")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Handle, E> {
                Ok(Handle(number))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Handle, E> {
                let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|_| is_digits);
                number.map(Handle).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(HandleVisitor)
    }
}

/// A version of a key: from 0 to 2^63 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// The name of an account as a path or a query has it, not checked yet: both ways of serving refuse it with the same words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AccountName(pub String);

impl Deref for AccountName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl ParseFromParameter for AccountName {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(Self(text.to_owned()))
    }
}

/// Implements what the OpenAPI document needs of a type that is read and written by serde.
macro_rules! documented {
    ($type:ty, $name:literal, $schema:expr) => {
        impl Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                $name.into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new($schema))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }

        impl ParseFromJSON for $type {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
            }
        }

        impl ToJSON for $type {
            fn to_json(&self) -> Option<Value> {
                serde_json::to_value(self).ok()
            }
        }
    };
}

documented!(
    RawJson,
    "value",
    MetaSchema { description: Some("Any JSON value, kept byte for byte as sent."), ..MetaSchema::ANY }
);
// As a number: a choice between two types is a burden in most generated clients. That a string of its digits is taken as well is said
// where it is used.
documented!(Handle, "handle", version_schema());
documented!(Version, "version", version_schema());
documented!(ListKind, "kind", kind_schema());
documented!(
    AccountName,
    "account",
    MetaSchema {
        min_length: Some(1),
        max_length: Some(ACCOUNT_BYTES_MAX),
        // Neither . nor .., written without a look ahead, which not every reader of patterns knows.
        pattern: Some(r"^([A-Za-z0-9_-]|\.[A-Za-z0-9_-]|\.\.[A-Za-z0-9_.-])[A-Za-z0-9_.-]*$".into()),
        ..MetaSchema::new("string")
    }
);

/// Inline, since a reference beside `nullable` has no meaning in OpenAPI 3.0.
fn kind_schema() -> MetaSchema {
    let names = ["KV", "Counters", "Locks"];
    MetaSchema { enum_items: names.map(Value::from).into(), ..MetaSchema::new("string") }
}

fn version_schema() -> MetaSchema {
    MetaSchema { minimum: Some(0.0), ..MetaSchema::new_with_format("integer", "int64") }
}
