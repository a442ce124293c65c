//! What can go wrong.

use crate::{Answer, Till, lock::Lost};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused the request. Nothing of it was applied, save perhaps for [`Code::OutcomeUnknown`].
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The server can't be reached. Nothing was sent.
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke, or the time was over, before the answer had come. The request may have been applied.
    #[error("the connection broke, or the time was over, before the answer came")]
    Interrupted(#[source] reqwest::Error),
    /// The answer is none of Cloud Dragon's: something else answers at this URL, or something between here and there. The
    /// request may have been applied.
    #[error("an answer with the status {status} is none of Cloud Dragon's: {detail}")]
    NotCloudDragon {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it, or how its body begins.
        detail: String,
    },
    /// What was asked for can't be asked for: a URL, token, account or duration that is none. Nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// The request was applied before, but the server has not kept its answer: it was too large. Nothing was applied now.
    #[error(
        "the request with the idempotency id {id:?} was applied before, and its answer was too large to keep"
    )]
    AnswerNotKept {
        /// The idempotency id.
        id: String,
    },
    /// The lock is not held any more.
    #[error("the lock is not held any more")]
    Lost(#[from] Lost),
}

impl Error {
    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&Code> {
        self.refusal().map(|refusal| &refusal.code)
    }

    /// The refusal, if the server refused the request.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// How long the server asks to wait before the request is sent again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refusal| refusal.retry_after)
    }

    /// Whether nothing was applied and the same request may well succeed a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
            || matches!(self.code(), Some(Code::Unavailable | Code::TooManyRequests))
    }

    /// Whether the request may have been applied or not: send it again by
    /// [`transact_once`](crate::Account::transact_once) alone.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Interrupted(_) => true,
            // A gateway that has lost, or lost patience with, what is behind it; or has changed its answer.
            Self::NotCloudDragon { status, .. } => matches!(status, 200..=299 | 500..),
            _ => self.code() == Some(&Code::OutcomeUnknown),
        }
    }

    /// Whether it may pass by itself.
    pub(crate) fn is_transient(&self) -> bool {
        // Who is content with what no Cloud Dragon understands is something else, at a URL that is wrong.
        let is_elsewhere = matches!(self, Self::NotCloudDragon { status: 200..=299, .. });
        self.is_retryable() || (self.is_outcome_unknown() && !is_elsewhere)
    }

    /// Whether someone was there, who has answered or cut the connection: it was not this client that lost patience.
    pub(crate) fn is_of_someone(&self) -> bool {
        match self {
            Self::Interrupted(error) => !error.is_timeout(),
            _ => matches!(self, Self::Refused(_) | Self::NotCloudDragon { .. }),
        }
    }

    pub(crate) fn of_transport(error: reqwest::Error) -> Self {
        // The URL may hold more than is meant for a log, and the caller knows it.
        let error = error.without_url();
        if error.is_builder() {
            return Self::Invalid(error.to_string());
        }
        if error.is_connect() { Self::Unreachable(error) } else { Self::Interrupted(error) }
    }
}

/// A refusal. Which of the further fields it has depends on the code.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Refusal {
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong and what to change, for people.
    pub message: String,
    /// [`Code::DuplicateRequest`], [`Code::NotLocked`]: which idempotency id, or which lock.
    #[serde(rename = "ID")]
    pub id: Option<String>,
    /// [`Code::DuplicateRequest`]: what the first request was answered, unless that was too large to keep.
    pub response: Option<Box<RawValue>>,
    /// [`Code::DuplicateRequest`]: whether the first request was the same as this one.
    pub same_request: Option<bool>,
    /// [`Code::LockTimeout`]: until when the lock is held at present.
    pub till: Option<Till>,
    /// [`Code::LockTimeout`]: who holds the lock, when the holder said so.
    pub owner: Option<String>,
    /// [`Code::PreconditionFailed`], [`Code::CounterOverflow`]: the key or counter.
    pub key: Option<String>,
    /// [`Code::PreconditionFailed`] of a value: the version that it has.
    pub version: Option<u64>,
    /// [`Code::PreconditionFailed`] of a counter: the value that it has.
    pub value: Option<i64>,
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// How long to wait before the request is sent again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What the first request was answered, of a duplicate.
    #[must_use]
    pub fn first_answer(&self) -> Option<Answer> {
        serde_json::from_str(self.response.as_ref()?.get()).ok()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)?;
        if let Some(owner) = &self.owner {
            write!(formatter, " (held by {owner:?})")?;
        }
        if let Some(name) = self.id.as_ref().or(self.key.as_ref()) {
            write!(formatter, " ({name:?})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// The codes of refusals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `invalid_request`: a field that is not known, a limit passed, nothing asked
    InvalidRequest,
    /// `unauthorized`: no token, or one that the server does not know
    Unauthorized,
    /// `forbidden`: a token without the right on this account
    Forbidden,
    /// `not_found`: no such path; mostly a wrong URL
    NotFound,
    /// `method_not_allowed`: no such method on this path
    MethodNotAllowed,
    /// `duplicate_request`: an idempotency id was used before
    DuplicateRequest,
    /// `lock_timeout`: the lock was held for all of the wait
    LockTimeout,
    /// `not_locked`: the handle does not hold the lock
    NotLocked,
    /// `precondition_failed`: a value had another version, or a counter another value, than the request asked for
    PreconditionFailed,
    /// `counter_overflow`: a counter would leave the signed 64-bit range
    CounterOverflow,
    /// `payload_too_large`: the request, a value or the answer
    PayloadTooLarge,
    /// `unsupported_media_type`: the body is declared as something other than JSON
    UnsupportedMediaType,
    /// `too_many_requests`: over the account's quota
    TooManyRequests,
    /// `unavailable`: nothing was applied, the same request may succeed later
    Unavailable,
    /// `outcome_unknown`: whether the request was applied could not be settled
    OutcomeUnknown,
    /// A code that this version of the client does not know
    Other(String),
}

/// The codes that are known, and their names.
const CODES: [(&str, Code); 15] = [
    ("invalid_request", Code::InvalidRequest),
    ("unauthorized", Code::Unauthorized),
    ("forbidden", Code::Forbidden),
    ("not_found", Code::NotFound),
    ("method_not_allowed", Code::MethodNotAllowed),
    ("duplicate_request", Code::DuplicateRequest),
    ("lock_timeout", Code::LockTimeout),
    ("not_locked", Code::NotLocked),
    ("precondition_failed", Code::PreconditionFailed),
    ("counter_overflow", Code::CounterOverflow),
    ("payload_too_large", Code::PayloadTooLarge),
    ("unsupported_media_type", Code::UnsupportedMediaType),
    ("too_many_requests", Code::TooManyRequests),
    ("unavailable", Code::Unavailable),
    ("outcome_unknown", Code::OutcomeUnknown),
];

impl Code {
    /// The code as the server writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => CODES.iter().find(|(_, code)| code == known).map_or("", |(text, _)| text),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = CODES.iter().find(|(known, _)| *known == text);
        Ok(known.map_or(Self::Other(text), |(_, code)| code.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::{CODES, Code, Refusal};

    #[test]
    fn every_code_has_its_name() {
        for (text, code) in CODES {
            assert_eq!(code.as_str(), text);
            let read: Code = serde_json::from_str(&format!("{text:?}")).unwrap();
            assert_eq!(read, code);
        }
    }

    #[test]
    fn unknown_codes_and_fields_are_no_error() {
        let refusal: Refusal =
            serde_json::from_str(r#"{"Code":"new_one","Message":"m","New":[1],"Owner":"o"}"#).unwrap();
        assert_eq!(refusal.code, Code::Other("new_one".to_owned()));
        assert_eq!(refusal.to_string(), r#"new_one: m (held by "o")"#);
    }

    #[test]
    fn the_first_answer_is_read_byte_for_byte() {
        let refusal: Refusal = serde_json::from_str(
            r#"{"Code":"duplicate_request","Message":"","Response":{"KV":[{"Key":"k","Version":1,"Value":1.50}]}}"#,
        )
        .unwrap();
        let answer = refusal.first_answer().unwrap();
        assert_eq!(answer.values[0].value.as_ref().unwrap().get(), "1.50");
    }
}
