//! The way in for fuzzing: what the server makes of bytes, without a server around it. No part of the library's interface.

use crate::error::ApiError;
use crate::fast;
use crate::json_body::parse;
use crate::service::{list_query, watched_key};
use crate::wire::db::DbRequest;
use crate::wire::list::ListRequest;
use crate::wire::watch::WatchRequest;
use bytes::Bytes;
use dragon_core::cell::{Account, Cell};
use dragon_core::limits::Limits;
use dragon_core::page::Query;
use dragon_core::request::{Draft, Request};
use std::time::Duration;

/// A request that is refused for what it is.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The JSON of the answer.
    pub body: Bytes,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { status: error.http_status().as_u16(), body: error.body() }
    }
}

/// Reads the body of a `POST /db/{account}`.
///
/// # Errors
/// When it is not of the form that the contract gives.
pub fn read_db(body: &[u8]) -> Result<Draft, Refused> {
    Ok(parse::<DbRequest>(body)?.into())
}

/// Checks what was read, as the route does.
///
/// # Errors
/// When it is no request.
pub fn check_db(account: Account, draft: Draft, limits: &Limits) -> Result<Request, Refused> {
    Request::new(account, draft, limits).map_err(|invalid| ApiError::from(invalid).into())
}

/// Reads and checks the body of a `POST /watch/{account}`: the key, the version that is known of it, and how long to wait.
///
/// # Errors
/// When it is no request.
pub fn watch(account: &Account, body: &[u8], limits: &Limits) -> Result<(Cell, u64, Duration), Refused> {
    Ok(watched_key(account, &parse::<WatchRequest>(body)?, limits)?)
}

/// Reads and checks the body of a `POST /list/{account}`.
///
/// # Errors
/// When it is no request.
pub fn list(account: Account, body: &[u8], limits: &Limits) -> Result<Query, Refused> {
    Ok(list_query(account, parse::<ListRequest>(body)?, limits)?)
}

/// What the fast path takes the beginning of a connection's bytes for.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'b> {
    /// So many bytes are missing at least.
    Partial(usize),
    /// A request that it answers itself.
    Plain(PlainHead<'b>),
    /// Anything else.
    Other,
}

/// A request that the fast path answers itself.
#[derive(Debug, PartialEq, Eq)]
pub struct PlainHead<'b> {
    /// `/db`, `/watch` or `/list`.
    pub route: &'static str,
    /// The account that the path names.
    pub account: &'b str,
    /// `Host`
    pub host: Option<&'b [u8]>,
    /// `Origin`
    pub origin: Option<&'b [u8]>,
    /// `Authorization`
    pub authorization: Option<&'b [u8]>,
    /// `X-Request-Id`
    pub request_id: Option<&'b [u8]>,
    /// Whether the body is declared as JSON, or not at all.
    pub is_json: bool,
    /// The body.
    pub body: &'b [u8],
    /// Head and body together.
    pub bytes: usize,
}

/// Looks at the beginning of a connection's bytes as the fast path does.
#[must_use]
pub fn head(bytes: &[u8]) -> Head<'_> {
    match fast::parse(bytes) {
        fast::Parsed::Partial(missing) => Head::Partial(missing),
        fast::Parsed::Other => Head::Other,
        fast::Parsed::Plain(plain) => Head::Plain(PlainHead {
            route: plain.route.name(),
            account: plain.account,
            host: plain.host,
            origin: plain.origin,
            authorization: plain.authorization,
            request_id: plain.request_id,
            is_json: plain.is_json,
            body: plain.body,
            bytes: plain.bytes,
        }),
    }
}
