//! Requests in the servers' own account, by which they tell each other what is under way.

use dragon_contract::BackendError;
use dragon_core::cell::Account;
use dragon_core::limits::Limits;
use dragon_core::request::{Draft, Request};
use dragon_core::verdict::Verdict;
use dragon_waiters::{Failure, Frontend};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Applies a request there, and reads its answer.
///
/// # Errors
/// [`Failure`]; what can't be read is [`BackendError::Corrupt`].
pub async fn ask_system<T: DeserializeOwned>(frontend: &Frontend, draft: Draft) -> Result<T, Failure> {
    let request = Request::new(Account::system(), draft, &Limits::default());
    let request = request.map_err(|error| damaged(&error.to_string()))?;
    match frontend.submit(Arc::new(request)).await?.take() {
        Some(Verdict::Applied(applied)) => {
            serde_json::from_slice(&applied.answer).map_err(|error| damaged(&error.to_string()))
        }
        Some(Verdict::Rejected(rejection)) => Err(Failure::Rejected(rejection)),
        Some(Verdict::Blocked(_)) | None => Err(Failure::Draining),
    }
}

/// What is stored there is not what this program writes.
#[must_use]
pub fn damaged(what: &str) -> Failure {
    BackendError::Corrupt(format!("the servers' own account: {what}")).into()
}
