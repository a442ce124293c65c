//! An account, and the requests on it.

use crate::error::{Code, Refusal};
use crate::retry::Retries;
use crate::{Answer, Client, Error, Request};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const NAME_BYTES_MAX: usize = 128;

/// An account: an isolated partition of the server, named in every request. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Account {
    pub(crate) client: Client,
    name: Arc<str>,
}

/// What is asked of an account, as the path has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    Db,
    Watch,
    List,
}

impl Account {
    pub(crate) fn new(client: Client, name: &str) -> Result<Self, Error> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_length_allowed = (1..=NAME_BYTES_MAX).contains(&name.len());
        if !is_length_allowed || !name.bytes().all(is_allowed) || matches!(name, "." | "..") {
            let message =
                format!("{name:?} is no account: 1 to 128 of A-Z a-z 0-9 _ . - are, but not . or ..");
            return Err(Error::Invalid(message));
        }
        Ok(Self { client, name: name.into() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request. One that only reads is sent again after failures that may pass; any other is sent once, and its
    /// caller decides: see [`Error::is_retryable`] and [`Error::is_outcome_unknown`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn transact(&self, request: Request) -> Result<Answer, Error> {
        let hold = request.wait();
        if request.is_read() {
            self.read(Route::Db, &request, hold).await
        } else {
            self.send(&request, hold).await
        }
    }

    /// Sends a request so often that it happens once: it gets an idempotency id, unless it has one, and is sent again after
    /// lost connections and other failures that may pass. When it turns out to have been applied before, the first answer
    /// is given, and [`Answer::is_repeated`] says so.
    ///
    /// ```no_run
    /// # use dragon_client::{Account, Error, Request};
    /// # async fn example(account: Account) -> Result<(), Error> {
    /// let pay = Request::new().idempotency_id("payment-4711").add("alice", -30).add("bob", 30);
    /// let answer = account.transact_once(pay).await?;
    /// println!("alice has {:?} left", answer.counter("alice"));
    /// # Ok(()) }
    /// ```
    ///
    /// A request that waits for a lock waits once more each time it is sent, behind those that it was sent before:
    /// [`Account::lock`] takes locks with more care.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::DuplicateRequest`] when its idempotency id was used by another request;
    /// [`Error::AnswerNotKept`] when it was applied before and its answer is lost. When it is given up, and one of the
    /// tries has left open whether the request was applied, the error is that one's.
    pub async fn transact_once(&self, request: Request) -> Result<Answer, Error> {
        self.once(request).await.map_err(|failed| failed.error)
    }

    /// The same, and tells of a failure whether the request may have been applied.
    pub(crate) async fn once(&self, request: Request) -> Result<Answer, Failed> {
        let request = match request.has_idempotency_id() {
            true => request,
            false => request.idempotency_id(new_id()),
        };
        let body = body(&request).map_err(|error| Failed { error, is_open: false })?;
        let mut retries = Retries::new(self.client.retry_policy());
        let mut open = None;
        loop {
            let error = match self.post(Route::Db, body.clone(), request.wait()).await.and_then(answered) {
                Ok(answer) => return Ok(answer),
                Err(Error::Refused(refusal)) if refusal.code == Code::DuplicateRequest => {
                    return repeated(refusal).map_err(|error| Failed { error, is_open: open.is_some() });
                }
                Err(error) => error,
            };
            if !retries.pause_after(&error).await {
                return Err(Failed::of(error, open));
            }
            if error.is_outcome_unknown() {
                open = Some(error);
            }
        }
    }

    /// Sends a request that changes nothing, again if need be.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        route: Route,
        request: &impl Serialize,
        hold: Duration,
    ) -> Result<T, Error> {
        let body = body(request)?;
        let mut retries = Retries::new(self.client.retry_policy());
        loop {
            match self.post(route, body.clone(), hold).await.and_then(answered) {
                Err(error) => retries.pause(error).await?,
                done => return done,
            }
        }
    }

    /// Sends a request once.
    pub(crate) async fn send(&self, request: &Request, hold: Duration) -> Result<Answer, Error> {
        self.post(Route::Db, body(request)?, hold).await.and_then(answered)
    }

    pub(crate) async fn post(
        &self,
        route: Route,
        body: Bytes,
        hold: Duration,
    ) -> Result<Option<Bytes>, Error> {
        let route = match route {
            Route::Db => "db",
            Route::Watch => "watch",
            Route::List => "list",
        };
        self.client.post(&format!("{route}/{}", self.name), body, hold).await
    }
}

/// A request that was tried, perhaps several times, and not answered.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether a try before the last one may have been applied, or may yet be.
    is_open: bool,
}

impl Failed {
    /// That of the last try, after another one whose fate is not known.
    fn of(last: Error, open: Option<Error>) -> Self {
        let is_open = open.is_some();
        // That this time nothing was applied is not the truth about the request.
        let error = if last.is_retryable() { open.unwrap_or(last) } else { last };
        Self { error, is_open }
    }

    /// Whether it is certain that the request was not applied and won't be.
    pub(crate) fn has_changed_nothing(&self) -> bool {
        let is_none = matches!(self.error, Error::Refused(_) | Error::Unreachable(_) | Error::Invalid(_));
        is_none && !self.is_open && !self.error.is_outcome_unknown()
    }
}

/// An id that nobody else has.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

pub(crate) fn body(request: &impl Serialize) -> Result<Bytes, Error> {
    match serde_json::to_vec(request) {
        Ok(body) => Ok(body.into()),
        Err(error) => Err(Error::Invalid(format!("the request: {error}"))),
    }
}

pub(crate) fn answered<T: DeserializeOwned>(body: Option<Bytes>) -> Result<T, Error> {
    let wrong = |status, detail: &str| Error::NotCloudDragon { status, detail: detail.to_owned() };
    let body = body.ok_or_else(|| wrong(204, "it has no body"))?;
    serde_json::from_slice(&body).map_err(|error| wrong(200, &error.to_string()))
}

fn repeated(refusal: Box<Refusal>) -> Result<Answer, Error> {
    if refusal.same_request != Some(true) {
        return Err(Error::Refused(refusal));
    }
    match (refusal.first_answer(), &refusal.response) {
        (Some(answer), _) => Ok(Answer { repeated: true, ..answer }),
        (None, None) => Err(Error::AnswerNotKept { id: refusal.id.unwrap_or_default() }),
        (None, Some(_)) => Err(Error::Refused(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use crate::Client;

    #[test]
    fn names_are_checked_before_they_are_sent() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let longest = "x".repeat(128);
        for name in ["jobs", "A-Z_0.9", "...", ".a", &longest] {
            assert_eq!(client.account(name).unwrap().name(), name);
        }
        let too_long = "x".repeat(129);
        for name in ["", ".", "..", "a/b", "a b", "ä", "a%2e", &too_long] {
            assert!(client.account(name).is_err(), "{name}");
        }
    }
}
