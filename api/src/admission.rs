//! What every request goes through, on whichever path it came: access, a request id, metrics and the
//! log. One place, so that no path can leave a part of it out.

use crate::access::{Access, Claim, KnownToken, Permit};
use crate::config::AccessLog;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::quotas::Quotas;
use crate::route::Route;
use crate::traces::{TRACEPARENT, Traces};
use opentelemetry::KeyValue;
use opentelemetry::trace::Span as _;
use opentelemetry_sdk::trace::Span;
use poem::Request;
use poem::http::header;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The header that carries the request id, in requests and answers.
pub(crate) const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What admission needs to know of a request's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) claim: Claim<'a>,
    pub(crate) request_id: Option<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    /// The head of a request as the framework has it.
    pub(crate) fn of(route: Route, account: Option<&'a str>, request: &'a Request) -> Self {
        let value = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
        // HTTP/2 has the host in the target.
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let (host, origin) = (value(header::HOST.as_str()).or(authority), value(header::ORIGIN.as_str()));
        let authorization = value(header::AUTHORIZATION.as_str());
        let claim = Claim { route, account, host, origin, authorization };
        Self { claim, request_id: value(REQUEST_ID), traceparent: value(TRACEPARENT) }
    }
}

/// The gate of a server.
#[derive(Debug)]
pub(crate) struct Admission {
    access: Access,
    quotas: Arc<Quotas>,
    access_log: AccessLog,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
    /// Request ids that two servers hardly share: a random number of this process, and a count.
    process: u64,
    count: AtomicU64,
}

/// A request under way. Every one that is answered ends with [`Admission::answered`].
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) request_id: RequestId,
    route: Route,
    /// The token that the request came with.
    token: Option<Arc<KnownToken>>,
    begun: Instant,
    /// Where it is traced.
    span: Option<Box<Span>>,
}

impl Admission {
    pub(crate) fn new(
        access: Access,
        quotas: Arc<Quotas>,
        access_log: AccessLog,
        metrics: Arc<Metrics>,
        traces: Option<Arc<Traces>>,
    ) -> Self {
        let process = RandomState::new().hash_one(std::process::id());
        Self { access, quotas, access_log, metrics, traces, process, count: AtomicU64::new(0) }
    }

    /// Takes a request in, and says what it may do.
    pub(crate) fn admit(&self, head: &Head<'_>) -> (Ticket, Result<Permit, ApiError>) {
        let request_id = self.request_id(head.request_id);
        let permit = self.access.permit(&head.claim);
        let token = permit.as_ref().ok().and_then(|permit| permit.token.clone());
        let route = head.claim.route;
        // Strangers do not choose what is traced.
        let traces = self.traces.as_ref().filter(|_| permit.is_ok());
        let span = traces.and_then(|traces| traces.begin(route, head.traceparent)).map(Box::new);
        let ticket = Ticket { request_id, route, token, begun: Instant::now(), span };
        (ticket, permit.and_then(|permit| self.admit_with(permit, &head.claim)))
    }

    fn admit_with(&self, permit: Permit, claim: &Claim<'_>) -> Result<Permit, ApiError> {
        self.access.require(claim.route, &permit)?;
        if let (Some(account), true) = (claim.account, claim.route.is_of_keys()) {
            self.quotas.count(account, permit.token.as_deref())?;
        }
        Ok(permit)
    }

    /// Notes how a request was answered.
    pub(crate) fn answered(&self, ticket: &mut Ticket, method: &str, code: u16) {
        let took = ticket.begun.elapsed();
        self.metrics.answered(ticket.route, code, took);
        let (request_id, route) = (&ticket.request_id, ticket.route.name());
        let token = ticket.token.as_ref().map(|token| token.entry.name.as_str());
        let trace_id =
            ticket.span.as_ref().map(|span| tracing::field::display(span.span_context().trace_id()));
        match self.access_log {
            AccessLog::Failed | AccessLog::All if code >= 500 => {
                tracing::warn!(%request_id, method, route, code, token, trace_id, ?took, "request failed");
            }
            AccessLog::All => {
                tracing::info!(%request_id, method, route, code, token, trace_id, ?took, "request")
            }
            AccessLog::Off | AccessLog::Failed => {}
        }
        if let Some(span) = &mut ticket.span {
            span.set_attribute(KeyValue::new("dragon.request_id", request_id.to_string()));
            if let Some(token) = token {
                span.set_attribute(KeyValue::new("dragon.token", token.to_owned()));
            }
            Traces::end(span, ticket.route, method, code);
        }
    }

    /// The id that the client gave, if it can be shown in a log, or a new one.
    fn request_id(&self, given: Option<&[u8]>) -> RequestId {
        let is_shown = |id: &&[u8]| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
        };
        match given.filter(is_shown).and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => RequestId::Given(id.into()),
            None => {
                let count = self.count.fetch_add(1, Ordering::Relaxed);
                RequestId::New { process: self.process, count }
            }
        }
    }
}

/// What a request is called in the log and in its answer.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    Given(Box<str>),
    New { process: u64, count: u64 },
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(id) => formatter.write_str(id),
            Self::New { process, count } => write!(formatter, "{process:016x}-{count:x}"),
        }
    }
}
