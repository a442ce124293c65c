//! From parsed requests to answers' bytes: what the routes do, without HTTP.

use crate::access::{Permit, Right};
use crate::error::ApiError;
use crate::quotas::{Place, Quotas};
use crate::wire::db::DbRequest;
use crate::wire::list::ListRequest;
use crate::wire::watch::WatchRequest;
use bytes::Bytes;
use dragon_contract::BackendError;
use dragon_core::answer::{Answer, push_counter, push_value};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::json::{push_number, push_string};
use dragon_core::layout;
use dragon_core::limits::{
    LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX, Limits, REVISION_MAX, WATCH_WAIT_S_DEFAULT, WATCH_WAIT_S_MAX,
};
use dragon_core::page::{Page, Query, Shown};
use dragon_core::request::{Request, check_id, check_range};
use dragon_core::verdict::Verdict;
use dragon_waiters::{Failure, Frontend, Watched};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// The service behind the routes.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) frontend: Frontend,
    pub(crate) limits: Arc<Limits>,
    pub(crate) quotas: Arc<Quotas>,
}

/// A valid request.
#[derive(Debug)]
pub(crate) enum Asked {
    Db { request: Arc<Request>, place: Option<Place>, bytes_max: Option<NonZeroU64> },
    Watch { key: Cell, account: Account, seen: u64, wait: Duration, place: Option<Place> },
    List(Query),
}

impl Asked {
    /// Whether it may wait for others.
    pub(crate) fn waits(&self) -> bool {
        match self {
            Self::Db { request, .. } => request.wanted().is_some(),
            Self::Watch { wait, .. } => !wait.is_zero(),
            Self::List(_) => false,
        }
    }
}

impl Service {
    /// `POST /db/{account}`.
    pub(crate) fn db(&self, account: &str, request: DbRequest, permit: &Permit) -> Result<Asked, ApiError> {
        let request = Request::new(Account::new(account)?, request.into(), &self.limits)?;
        if !request.is_read() {
            permit.require(Right::Write)?;
        }
        let may_wait = request.wanted().is_some_and(|wanted| wanted.wait_s > 0);
        let place = if may_wait { self.quotas.place(request.account(), permit)? } else { None };
        let bytes_max = self.quotas.bytes_max(permit);
        Ok(Asked::Db { request: Arc::new(request), place, bytes_max })
    }

    /// `POST /watch/{account}`.
    pub(crate) fn watch(
        &self,
        account: &str,
        request: WatchRequest,
        permit: &Permit,
    ) -> Result<Asked, ApiError> {
        let account = Account::new(account)?;
        let (key, seen, wait) = watched_key(&account, &request, &self.limits)?;
        let place = if wait.is_zero() { None } else { self.quotas.place(&account, permit)? };
        Ok(Asked::Watch { key, account, seen, wait, place })
    }

    /// `POST /list/{account}`.
    pub(crate) fn list(&self, account: &str, request: ListRequest) -> Result<Asked, ApiError> {
        Ok(Asked::List(list_query(Account::new(account)?, request, &self.limits)?))
    }

    /// `GET /accounts`.
    pub(crate) async fn accounts(
        &self,
        after: Option<&str>,
        limit: Option<u64>,
        with_sizes: bool,
    ) -> Result<Bytes, ApiError> {
        let after = after.map(Account::new).transpose()?;
        let limit = limit.unwrap_or(LIST_ENTRIES_DEFAULT as u64);
        check_range("limit", limit, 1, LIST_ENTRIES_MAX as u64)?;
        let page = self.frontend.accounts(after.as_ref(), limit as usize).await?;
        let mut sizes = vec![None; page.accounts.len()];
        if with_sizes {
            for (size, account) in sizes.iter_mut().zip(&page.accounts) {
                let told = self.quotas.stored_bytes(&**self.frontend.backend(), account).await;
                // One that can't be counted in time hides no others.
                *size = told.inspect_err(|error| tracing::warn!(%error, "no size")).ok();
            }
        }
        let mut answer = Answer::default();
        answer.array("Accounts", page.accounts.iter().zip(sizes), |json, (account, bytes)| {
            json.extend_from_slice(b"{\"Account\":");
            push_string(json, account.as_str());
            if let Some(bytes) = bytes {
                json.extend_from_slice(b",\"Bytes\":");
                push_number(json, bytes);
            }
            json.push(b'}');
            true
        });
        if page.more {
            answer.flag("More");
        }
        Ok(answer.finish())
    }

    /// The answer's JSON; `None` when a watched key did not change.
    pub(crate) async fn answer(&self, asked: Asked) -> Result<Option<Bytes>, ApiError> {
        match asked {
            Asked::Db { request, place: _place, bytes_max } => {
                let _adding = match bytes_max {
                    None => None,
                    Some(max) => Box::pin(self.quotas.admit(self.frontend.backend(), &request, max)).await?,
                };
                let delivery = self.frontend.submit(request).await?;
                // From here on the answer is on its way; before, a client that hung up gives its lock back.
                match delivery.take() {
                    Some(Verdict::Applied(applied)) => Ok(Some(applied.answer)),
                    Some(Verdict::Rejected(rejection)) => Err(rejection.into()),
                    Some(Verdict::Blocked(_)) | None => Err(Failure::Draining.into()),
                }
            }
            Asked::Watch { key, account, seen, wait, place: _place } => {
                match self.frontend.watch(&key, &account, seen, wait).await? {
                    Watched::Changed(answer) => Ok(Some(answer)),
                    Watched::Unchanged => Ok(None),
                }
            }
            Asked::List(query) => {
                let (page, waiting) = self.frontend.list(&query).await?;
                let written = write_page(query.kind, page, waiting);
                written.map(Some).map_err(|error| BackendError::from(error).into())
            }
        }
    }
}

/// What a watch asks for: the key, the version that is known of it, and how long to wait.
pub(crate) fn watched_key(
    account: &Account,
    request: &WatchRequest,
    limits: &Limits,
) -> Result<(Cell, u64, Duration), ApiError> {
    check_id(&request.id, limits, || "ID".into())?;
    let seen = request.version.map_or(0, |version| version.0);
    check_range("Version", seen, 0, REVISION_MAX)?;
    let wait_s = request.wait.unwrap_or(WATCH_WAIT_S_DEFAULT);
    check_range("Wait", wait_s, 0, WATCH_WAIT_S_MAX)?;
    Ok((Cell::new(account, Kind::Value, &request.id), seen, Duration::from_secs(wait_s)))
}

/// The page that is asked for.
pub(crate) fn list_query(account: Account, request: ListRequest, limits: &Limits) -> Result<Query, ApiError> {
    let kind = Kind::from(request.kind.unwrap_or_default());
    let (prefix, after) = (request.prefix.unwrap_or_default(), request.after.unwrap_or_default());
    Ok(Query::new(account, kind, prefix, after, request.limit, limits)?)
}

fn write_page(kind: Kind, page: Page, waiting: Vec<usize>) -> Result<Bytes, layout::Corrupt> {
    let mut corrupt = None;
    let mut answer = Answer::default();
    let name = match kind {
        Kind::Counter => "Counters",
        Kind::Lock => "Locks",
        Kind::Value | Kind::Meta | Kind::Idempotency | Kind::Staged => "KV",
    };
    answer.array(name, page.shown.iter().zip(waiting), |json, (shown, waiting)| {
        let written = match kind {
            Kind::Counter => write_counter(json, shown),
            Kind::Lock => write_lock(json, shown, waiting),
            Kind::Value | Kind::Meta | Kind::Idempotency | Kind::Staged => write_value(json, shown),
        };
        corrupt = written.err();
        corrupt.is_none()
    });
    if page.more {
        answer.flag("More");
    }
    corrupt.map_or_else(|| Ok(answer.finish()), Err)
}

fn write_value(json: &mut Vec<u8>, shown: &Shown) -> Result<(), layout::Corrupt> {
    let version = layout::header(&shown.cell, &shown.row)?.revision;
    push_value(json, &shown.cell, version, Some(&layout::value(&shown.row)));
    Ok(())
}

fn write_counter(json: &mut Vec<u8>, shown: &Shown) -> Result<(), layout::Corrupt> {
    push_counter(json, &shown.cell, layout::read_counter(&shown.cell, Some(&shown.row))?);
    Ok(())
}

fn write_lock(json: &mut Vec<u8>, shown: &Shown, waiting: usize) -> Result<(), layout::Corrupt> {
    let (header, lock) = layout::read_lock(&shown.cell, &shown.row)?;
    json.extend_from_slice(b"{\"ID\":");
    push_string(json, shown.cell.id());
    json.extend_from_slice(b",\"Lock\":");
    push_number(json, lock.handle);
    json.extend_from_slice(b",\"Till\":");
    push_number(json, header.expires_ms / 1_000);
    if let Some(granted_ms) = lock.granted_ms {
        json.extend_from_slice(b",\"Since\":");
        push_number(json, granted_ms / 1_000);
    }
    if !lock.owner.is_empty() {
        json.extend_from_slice(b",\"Owner\":");
        push_string(json, std::str::from_utf8(&lock.owner).unwrap_or_default());
    }
    json.extend_from_slice(b",\"Waiting\":");
    push_number(json, waiting);
    json.push(b'}');
    Ok(())
}
