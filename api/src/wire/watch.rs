//! `POST /watch/{account}`.

use super::scalar::Version;
use poem_openapi::Object;
use serde::Deserialize;

/// Wait until a key has another version than the one given.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub struct WatchRequest {
    /// The key, 1 to 512 bytes of UTF-8 without NUL.
    #[serde(rename = "ID")]
    #[oai(rename = "ID", validator(min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"))]
    pub id: String,
    /// The version that the client knows; 0, the default = it knows of no such key.
    #[oai(nullable)]
    pub version: Option<Version>,
    /// How many seconds to wait; 60 when not given, 0 looks once. The client's own timeout must be longer.
    #[oai(nullable, validator(minimum(value = "0"), maximum(value = "300")))]
    pub wait: Option<u64>,
}
