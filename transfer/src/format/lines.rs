//! What the lines hold, by kind, as JSON's types reach. Fields that are not known are refused: they would be lost.

use dragon_core::UnixMs;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// As much of a line as tells what it is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Peek {
    pub(super) kind: String,
    pub(super) format: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct AccountLine {
    #[serde(rename = "Kind")]
    _kind: String,
    #[serde(rename = "Format")]
    _format: u64,
    pub(super) account: String,
    pub(super) revision: u64,
    pub(super) mark_ms: UnixMs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct ValueLine<'a> {
    #[serde(rename = "Kind")]
    _kind: String,
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) expires_ms: Option<UnixMs>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) value: Option<&'a RawValue>,
    pub(super) text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct CounterLine {
    #[serde(rename = "Kind")]
    _kind: String,
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) value: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct LockLine {
    #[serde(rename = "Kind")]
    _kind: String,
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) expires_ms: UnixMs,
    pub(super) lock: u64,
    pub(super) since_ms: Option<UnixMs>,
    pub(super) owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct IdempotencyLine<'a> {
    #[serde(rename = "Kind")]
    _kind: String,
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) expires_ms: UnixMs,
    pub(super) fingerprint: String,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) response: Option<&'a RawValue>,
    pub(super) response_text: Option<String>,
    pub(super) beside: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct EndLine {
    #[serde(rename = "Kind")]
    _kind: String,
    pub(super) rows: u64,
    #[serde(rename = "SHA256")]
    pub(super) sha256: String,
}

/// A field that is there, `null` too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
