//! Errors as clients see them, and the one map from a refusal to an HTTP status.

use bytes::Bytes;
use dragon_contract::{BackendError, jittered};
use dragon_core::answer::Answer;
use dragon_core::cell::InvalidAccount;
use dragon_core::json::push_string;
use dragon_core::request::Invalid;
use dragon_core::verdict::Rejection;
use dragon_waiters::Failure;
use poem::Response;
use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::{Enum, Object};

use crate::route::Route;
use crate::wire::scalar::RawJson;
use std::time::Duration;

/// How soon to send a request again that was answered 503, in seconds.
const RETRY_AFTER_S: u64 = 1;
/// A server that goes down sends its clients back one by one, over so many seconds: they would all come to the others at once.
const RETRY_SPREAD: Duration = Duration::from_secs(5);
/// Longest message, in bytes. What the client sent may be part of it, which it has already.
const MESSAGE_BYTES_MAX: usize = 2_048;
/// How to say who one is (RFC 6750).
pub(crate) const SCHEME: &str = "Bearer";

/// The codes of errors: stable, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", rename = "ErrorCode")]
pub enum Code {
    /// Not JSON, a field that is not known, a wrong type, a limit passed, nothing asked
    InvalidRequest,
    /// No token, or one that is not known or has expired
    Unauthorized,
    /// A token without the right on this account; or a host or origin that is not the server's own
    Forbidden,
    /// No such path
    NotFound,
    /// No such method on this path
    MethodNotAllowed,
    /// An idempotency id was used before
    DuplicateRequest,
    /// The lock was held for all of the wait
    LockTimeout,
    /// The handle does not hold the lock
    NotLocked,
    /// `IfVersion` or `IfEq` did not hold
    PreconditionFailed,
    /// A counter would leave the signed 64-bit range
    CounterOverflow,
    /// An import into an account that is not empty, without leave to replace what is there
    NotEmpty,
    /// Another import of the account is under way
    ImportUnderWay,
    /// The server has no place for backups (`--backup-to`)
    BackupsOff,
    /// Another backup is under way
    BackupUnderWay,
    /// A backup could not be taken, or the bucket not be read
    BackupFailed,
    /// The body, a value or the answer is too large
    PayloadTooLarge,
    /// The body is declared as something other than JSON
    UnsupportedMediaType,
    /// Over the account's or the token's quota
    TooManyRequests,
    /// The store can't be reached, the queue is full, or the server is draining; safe to send again
    Unavailable,
    /// Whether the request was applied could not be settled
    OutcomeUnknown,
}

impl Code {
    /// The code's text and HTTP status.
    fn text_and_status(self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidRequest => ("invalid_request", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::DuplicateRequest => ("duplicate_request", StatusCode::CONFLICT),
            Self::LockTimeout => ("lock_timeout", StatusCode::CONFLICT),
            Self::NotLocked => ("not_locked", StatusCode::CONFLICT),
            Self::PreconditionFailed => ("precondition_failed", StatusCode::CONFLICT),
            Self::CounterOverflow => ("counter_overflow", StatusCode::CONFLICT),
            Self::NotEmpty => ("not_empty", StatusCode::CONFLICT),
            Self::ImportUnderWay => ("import_under_way", StatusCode::CONFLICT),
            Self::BackupsOff => ("backups_off", StatusCode::CONFLICT),
            Self::BackupUnderWay => ("backup_under_way", StatusCode::CONFLICT),
            Self::BackupFailed => ("backup_failed", StatusCode::BAD_GATEWAY),
            Self::PayloadTooLarge => ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooManyRequests => ("too_many_requests", StatusCode::TOO_MANY_REQUESTS),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::OutcomeUnknown => ("outcome_unknown", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// An error. Which of the further fields it has depends on the code.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", rename = "ErrorAnswer")]
pub struct ErrorShape {
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong and what to change, for people.
    pub message: String,
    /// `duplicate_request`, `not_locked`: which idempotency id, or which lock.
    #[oai(rename = "ID")]
    pub id: Option<String>,
    /// `duplicate_request`: the answer that the first request got, unless it was too large to keep.
    pub response: Option<RawJson>,
    /// `duplicate_request`: whether the first request was the same as this one.
    pub same_request: Option<bool>,
    /// `lock_timeout`: until when the lock is held at present, in Unix seconds, rounded down.
    pub till: Option<u64>,
    /// `lock_timeout`: who holds the lock, when the holder said so.
    pub owner: Option<String>,
    /// `precondition_failed`, `counter_overflow`: the key or counter.
    pub key: Option<String>,
    /// `precondition_failed` by `IfVersion`: the version that the key has.
    pub version: Option<u64>,
    /// `precondition_failed` by `IfEq`: the value that the counter has.
    pub value: Option<i64>,
}

/// An error on its way to the client.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    code: Code,
    message: String,
    /// Further fields: name and JSON.
    fields: Vec<(&'static str, Vec<u8>)>,
    /// The methods that the path has, where another was used.
    allowed: Option<&'static str>,
    /// How soon to send it again, where that is not as always.
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let message = shortened(message.into());
        Self { code, message, fields: Vec::new(), allowed: None, retry_after_s: None }
    }

    fn store_unavailable() -> Self {
        let message = "The store is unavailable; nothing was applied, send the request again.";
        Self::new(Code::Unavailable, message)
    }

    fn with(mut self, name: &'static str, json: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name, json.into()));
        self
    }

    fn with_text(self, name: &'static str, text: &str) -> Self {
        let mut json = Vec::new();
        push_string(&mut json, text);
        self.with(name, json)
    }

    fn with_number(self, name: &'static str, number: impl std::fmt::Display) -> Self {
        self.with(name, number.to_string())
    }

    /// With another time to wait before it is sent again, in seconds.
    pub(crate) fn retry_after(self, retry_after_s: u64) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..self }
    }

    /// After how many seconds to send it again.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        let usual = (self.http_status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S);
        self.retry_after_s.or(usual)
    }

    /// The HTTP status.
    pub(crate) fn http_status(&self) -> StatusCode {
        self.code.text_and_status().1
    }

    /// The JSON body.
    pub(crate) fn body(&self) -> Bytes {
        let mut answer = Answer::default();
        answer.text("Code", self.code.text_and_status().0);
        answer.text("Message", &self.message);
        for (name, json) in &self.fields {
            answer.raw(name, json);
        }
        answer.finish()
    }

    /// The whole response.
    pub(crate) fn response(&self) -> Response {
        let mut response = Response::builder()
            .status(self.http_status())
            .header(header::CONTENT_TYPE, "application/json")
            .body(self.body());
        if let Some(retry_after_s) = self.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
        }
        if self.http_status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(SCHEME));
        }
        if let Some(allowed) = self.allowed {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.http_status()
    }

    fn as_response(&self) -> Response {
        self.response()
    }
}

impl From<InvalidAccount> for ApiError {
    fn from(error: InvalidAccount) -> Self {
        Self::new(Code::InvalidRequest, format!("account: {error}"))
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let code = match &invalid {
            Invalid::Field { .. } => Code::InvalidRequest,
            Invalid::TooLarge { .. } => Code::PayloadTooLarge,
        };
        Self::new(code, invalid.to_string())
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::Backend(error) => error.into(),
            Failure::Draining => Self::new(
                Code::Unavailable,
                "The server is going down; nothing was applied, send the request to it or another one again.",
            )
            .retry_after(spread_s()),
        }
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::OutcomeUnknown(detail) => {
                tracing::error!(detail, "the outcome of a request is unknown");
                let message = "The store failed at the commit and whether the request was applied is not known; \
                               send it again with an idempotency id.";
                Self::new(Code::OutcomeUnknown, message)
            }
            BackendError::Busy(detail) => {
                tracing::debug!(detail, "a request was turned away");
                Self::new(
                    Code::Unavailable,
                    "The server is busy; nothing was applied, send the request again.",
                )
            }
            BackendError::Unavailable(detail) => {
                tracing::warn!(detail, "the store is unavailable");
                Self::store_unavailable()
            }
            BackendError::Corrupt(detail) => {
                tracing::error!(detail, "the store is damaged");
                Self::store_unavailable()
            }
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::DuplicateRequest { id, response, same_request } => {
                let message =
                    "This idempotency id was used before; Response is what that request was answered.";
                let error = Self::new(Code::DuplicateRequest, message).with_text("ID", &id);
                let error = match response {
                    Some(response) => error.with("Response", response),
                    None => error,
                };
                error.with("SameRequest", same_request.to_string())
            }
            Rejection::LockTimeout { till_ms, owner } => {
                let message = "The lock is held by another; wait longer for it, or try again after Till.";
                let error = Self::new(Code::LockTimeout, message).with_number("Till", till_ms / 1_000);
                match std::str::from_utf8(&owner) {
                    Ok(owner) if !owner.is_empty() => error.with_text("Owner", owner),
                    _ => error,
                }
            }
            Rejection::NotLocked { id } => {
                let message =
                    "The handle does not hold this lock: it was given back, passed on, or its lease is over.";
                Self::new(Code::NotLocked, message).with_text("ID", &id)
            }
            Rejection::VersionMismatch { key, version } => {
                let message = "The key does not have the version that IfVersion asks for; read it again.";
                let error = Self::new(Code::PreconditionFailed, message);
                error.with_text("Key", &key).with_number("Version", version)
            }
            Rejection::ValueMismatch { key, value } => {
                let message = "The counter does not have the value that IfEq asks for; read it again.";
                let error = Self::new(Code::PreconditionFailed, message);
                error.with_text("Key", &key).with_number("Value", value)
            }
            Rejection::CounterOverflow { key } => {
                let message = "The counter would leave the signed 64-bit range; add less.";
                Self::new(Code::CounterOverflow, message).with_text("Key", &key)
            }
            Rejection::Replacing => {
                let message = "An import is replacing the account's content; nothing was applied, send the request again.";
                Self::new(Code::Unavailable, message)
            }
            Rejection::AnswerTooLarge { bytes_max } => {
                let message =
                    format!("The answer would be larger than {bytes_max} bytes; ask for fewer keys.");
                Self::new(Code::PayloadTooLarge, message)
            }
        }
    }
}

/// A message without the middle of one that is too long: what is wrong is said at either end.
fn shortened(message: String) -> String {
    const HALF: usize = MESSAGE_BYTES_MAX / 2 - '…'.len_utf8();
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    let begin = &message[..message.floor_char_boundary(HALF)];
    let end = &message[message.ceil_char_boundary(message.len() - HALF)..];
    format!("{begin}…{end}")
}

/// 1 to 5 seconds, by chance.
fn spread_s() -> u64 {
    RETRY_AFTER_S
        + jittered(2 * RETRY_SPREAD).saturating_sub(RETRY_SPREAD).as_secs().min(RETRY_SPREAD.as_secs() - 1)
}

/// Gives an error that the framework raised the product's form.
pub(crate) fn from_framework(error: &poem::Error, route: Route) -> ApiError {
    let is_data = route.is_data();
    match error.status() {
        StatusCode::NOT_FOUND => ApiError::new(Code::NotFound, NO_PATH_MESSAGE),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = route.method();
            let message = format!("This path takes only {allowed}; see /docs.");
            ApiError { allowed: Some(allowed), ..ApiError::new(Code::MethodNotAllowed, message) }
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(Code::PayloadTooLarge, "The body is too large; send less.")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(Code::UnsupportedMediaType, MEDIA_TYPE_MESSAGE),
        // A path that can't be decoded is no route's.
        StatusCode::BAD_REQUEST if !is_data => ApiError::new(Code::NotFound, NO_PATH_MESSAGE),
        status if status.is_client_error() => ApiError::new(Code::InvalidRequest, error.to_string()),
        _ => {
            tracing::error!(%error, "a request failed inside the server");
            ApiError::new(Code::Unavailable, "The server failed; send the request again.")
        }
    }
}

/// What to say of a path that is not there.
pub(crate) const NO_PATH_MESSAGE: &str = "There is no such path; see /docs.";

/// What to send instead of another media type.
pub(crate) const MEDIA_TYPE_MESSAGE: &str =
    "The body must be JSON: send the header Content-Type: application/json.";
