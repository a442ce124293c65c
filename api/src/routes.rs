//! The routes: thin, described for OpenAPI, and one endpoint around them that gives every answer its
//! request id and every error its form.

use crate::access::{Permitted, Right};
use crate::admission::{Admission, Head, REQUEST_ID};
use crate::backups::{BackupHealth, BackupShape, Backups, BackupsAnswer};
use crate::document::{DESCRIPTION, finish};
use crate::error::{ApiError, Code, ErrorShape, NO_PATH_MESSAGE, from_framework};
use crate::json_body::{JsonBody, discard};
use crate::metrics::Metrics;
use crate::responses::{answer_meta, health_meta, response, text_meta};
use crate::route::Route;
use crate::service::{Asked, Service};
use crate::transfer::{
    AccountsAnswer, DeleteAnswer, ExportAnswer, ImportAnswer, ImportBody, ImportMode, delete_account,
};
use crate::wire::db::{DbAnswer, DbRequest, ValueState};
use crate::wire::list::{ListAnswer, ListRequest};
use crate::wire::scalar::AccountName;
use crate::wire::watch::WatchRequest;
use bytes::Bytes;
use dragon_core::limits::Limits;
use dragon_transfer::Mode;
use dragon_waiters::Frontend;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderName, HeaderValue, StatusCode, Version, header};
use poem::web::Html;
use poem::{Endpoint, EndpointExt as _, IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::{ToJSON as _, Type};
use poem_openapi::{ApiResponse, Enum, LicenseObject, Object, OpenApi, OpenApiService, Tags};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

#[derive(Tags)]
enum Tag {
    /// Locks, values, counters and idempotency ids, in one atomic request
    Data,
    /// Accounts as a whole
    Transfer,
    /// Backups in an S3 bucket
    Backups,
    /// For operators
    Operation,
}

/// An answer whose JSON is written already; `T` is its shape in the document.
struct Answer<T> {
    json: Bytes,
    shape: PhantomData<fn() -> T>,
}

impl<T> From<Bytes> for Answer<T> {
    fn from(json: Bytes) -> Self {
        Self { json, shape: PhantomData }
    }
}

impl<T: Send> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        Response::builder().header(header::CONTENT_TYPE, "application/json").body(self.json)
    }
}

impl ApiResponse for Answer<DbAnswer> {
    fn meta() -> MetaResponses {
        let conflict = "Refused, and nothing was applied: `duplicate_request`, `lock_timeout`, `not_locked`, \
                        `precondition_failed` or `counter_overflow`";
        let mut meta = answer_meta::<DbAnswer>(&[(409, conflict)]);
        for response in meta.responses.iter_mut().filter(|response| response.status == Some(503)) {
            response.description = "`unavailable`: nothing was applied, send it again after Retry-After seconds; \
                                    or `outcome_unknown`: send it again with an idempotency id";
        }
        meta
    }

    fn register(registry: &mut Registry) {
        DbAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<ListAnswer> {
    fn meta() -> MetaResponses {
        let mut meta = answer_meta::<ListAnswer>(&[]);
        meta.responses[0].description = "A page";
        meta
    }

    fn register(registry: &mut Registry) {
        ListAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

/// What goes on by itself when the store is away is not sent again as a request is.
fn unknown_is_completed(meta: &mut MetaResponses) {
    for response in meta.responses.iter_mut().filter(|response| response.status == Some(503)) {
        response.description = "`unavailable`: nothing was changed, send it again after Retry-After seconds; or `outcome_unknown`: \
                                it was interrupted and is completed once the store is back, so look at the account before \
                                sending it again";
    }
}

/// The answer of a watch.
struct WatchAnswer(Option<Bytes>);

impl IntoResponse for WatchAnswer {
    fn into_response(self) -> Response {
        match self.0 {
            Some(json) => Answer::<ValueState>::from(json).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        }
    }
}

impl ApiResponse for WatchAnswer {
    fn meta() -> MetaResponses {
        let mut meta = answer_meta::<ValueState>(&[]);
        meta.responses[0].description = "The key has another version than the one given";
        meta.responses.insert(1, response(204, "Nothing changed in the time given", Vec::new()));
        meta
    }

    fn register(registry: &mut Registry) {
        ValueState::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<AccountsAnswer> {
    fn meta() -> MetaResponses {
        let mut meta = answer_meta::<AccountsAnswer>(&[]);
        meta.responses.retain(|response| !matches!(response.status, Some(404 | 413 | 415)));
        meta.responses[0].description = "A page of accounts";
        meta
    }

    fn register(registry: &mut Registry) {
        AccountsAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<DeleteAnswer> {
    fn meta() -> MetaResponses {
        let conflict = "`import_under_way`: an import of the account is under way";
        let mut meta = answer_meta::<DeleteAnswer>(&[(409, conflict)]);
        meta.responses.retain(|response| !matches!(response.status, Some(413 | 415)));
        meta.responses[0].description = "There is no such account any more, and that is durable";
        unknown_is_completed(&mut meta);
        meta
    }

    fn register(registry: &mut Registry) {
        DeleteAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<ImportAnswer> {
    fn meta() -> MetaResponses {
        let conflict = "Refused, and nothing was changed: `not_empty` or `import_under_way`";
        let mut meta = answer_meta::<ImportAnswer>(&[(409, conflict)]);
        meta.responses.retain(|response| response.status != Some(413));
        unknown_is_completed(&mut meta);
        for response in &mut meta.responses {
            response.description = match response.status {
                Some(200) => "All of it is in the account, and durable",
                Some(400) => "`invalid_request`: the file was cut off or changed, or is no exported account",
                Some(415) => "`unsupported_media_type`: the body is declared as something else",
                _ => response.description,
            };
        }
        meta
    }

    fn register(registry: &mut Registry) {
        ImportAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<BackupShape> {
    fn meta() -> MetaResponses {
        let conflict = "`backups_off`: the server has no place for backups; or `backup_under_way`";
        let failed = "`backup_failed`: the bucket can't be reached or refuses; the message says why";
        let mut meta = answer_meta::<BackupShape>(&[(409, conflict), (502, failed)]);
        meta.responses.retain(|response| !matches!(response.status, Some(400 | 404 | 413 | 415)));
        meta.responses[0].description = "The backup, all of which is in the bucket";
        meta
    }

    fn register(registry: &mut Registry) {
        BackupShape::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<BackupsAnswer> {
    fn meta() -> MetaResponses {
        let conflict = "`backups_off`: the server has no place for backups";
        let failed = "`backup_failed`: the bucket can't be reached or refuses; the message says why";
        let mut meta = answer_meta::<BackupsAnswer>(&[(409, conflict), (502, failed)]);
        meta.responses.retain(|response| !matches!(response.status, Some(404 | 413 | 415)));
        meta.responses[0].description = "A page of backups";
        meta
    }

    fn register(registry: &mut Registry) {
        BackupsAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

impl ApiResponse for Answer<HealthAnswer> {
    fn meta() -> MetaResponses {
        let mut meta = health_meta::<HealthAnswer>();
        meta.responses[0].description = "It is well";
        meta
    }

    fn register(registry: &mut Registry) {
        HealthAnswer::register(registry);
        ErrorShape::register(registry);
    }
}

/// What the server counts.
struct MetricsAnswer(String);

impl MetricsAnswer {
    const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

impl IntoResponse for MetricsAnswer {
    fn into_response(self) -> Response {
        Response::builder().header(header::CONTENT_TYPE, Self::MEDIA_TYPE).body(self.0)
    }
}

impl ApiResponse for MetricsAnswer {
    fn meta() -> MetaResponses {
        let mut meta = text_meta(Self::MEDIA_TYPE);
        meta.responses[0].description = "Metrics in OpenMetrics' text form";
        meta
    }

    fn register(registry: &mut Registry) {
        ErrorShape::register(registry);
    }
}

/// What a server says of itself that answers at all.
#[derive(Debug, Enum)]
#[oai(rename_all = "lowercase")]
enum HealthStatus {
    /// It is well
    Ok,
}

/// The server's state.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
struct HealthAnswer {
    /// It is well.
    status: HealthStatus,
    /// `/health`: how the backups go, where there is a place for them.
    backups: Option<BackupHealth>,
}

impl HealthAnswer {
    fn ok(backups: Option<BackupHealth>) -> Answer<Self> {
        Bytes::from(Self { status: HealthStatus::Ok, backups }.to_json_string()).into()
    }
}

/// The operations, as OpenAPI sees them.
struct Operations {
    service: Option<Service>,
    backups: Backups,
    metrics: Arc<Metrics>,
}

impl Operations {
    fn service(&self) -> Result<&Service, ApiError> {
        let missing = || ApiError::new(Code::Unavailable, "The server serves its document only.");
        self.service.as_ref().ok_or_else(missing)
    }

    /// Answers with a body.
    async fn answer<T>(
        &self,
        ask: impl FnOnce(&Service) -> Result<Asked, ApiError>,
    ) -> poem::Result<Answer<T>> {
        let service = self.service()?;
        Ok(service.answer(ask(service)?).await?.unwrap_or_default().into())
    }
}

#[OpenApi]
impl Operations {
    /// One atomic request
    ///
    /// Checks idempotency ids, gives back and takes locks, checks conditions, reads values, changes
    /// counters and values: all of it durably and at one moment in the account's order, or none of it.
    ///
    /// In this order: idempotency ids, unlock, lock; then every condition (`IfVersion`, `IfEq`) and every read (`KVGet`) on the
    /// state before this request; then `Atomic` and `KVSet` as they are given. While another holds the lock the request waits,
    /// up to `LockWait` seconds, and looks at no condition.
    ///
    /// A lock is held until it is given back (`UnlockID` with `Unlock`) or its lease of `LockDur` seconds is over. `LockID` and
    /// `UnlockID` of the same name extend the lease; with a `LockDur` of 0 they only make sure, beside other writes, that the
    /// lock is still held.
    ///
    /// An answer has only the fields that have something to say.
    #[oai(path = "/db/:account", method = "post", operation_id = "transact", tag = "Tag::Data")]
    async fn db(
        &self,
        /// The account: an isolated partition, 1 to 128 of `A-Z a-z 0-9 _ . -`.
        account: Path<AccountName>,
        permit: Permitted,
        request: JsonBody<DbRequest>,
    ) -> poem::Result<Answer<DbAnswer>> {
        self.answer(|service| service.db(&account, request.0, &permit.0)).await
    }

    /// Wait for a key to change
    ///
    /// Answers as soon as the key's version is not the one given, higher or lower, at once where it
    /// already differs; 204 when nothing has changed after `Wait` seconds. No change is missed between two calls that pass the
    /// version on; several changes may come as one. A key that was deleted or has expired has version 0.
    #[oai(path = "/watch/:account", method = "post", operation_id = "watch", tag = "Tag::Data")]
    async fn watch(
        &self,
        /// The account: an isolated partition, 1 to 128 of `A-Z a-z 0-9 _ . -`.
        account: Path<AccountName>,
        permit: Permitted,
        request: JsonBody<WatchRequest>,
    ) -> poem::Result<WatchAnswer> {
        let service = self.service()?;
        Ok(WatchAnswer(service.answer(service.watch(&account, request.0, &permit.0)?).await?))
    }

    /// List values, counters or locks
    ///
    /// One page in key order (bytes). When it ends with `More`, the next page begins after its last key: send that as `After`.
    /// What is written meanwhile may be on a page or not; everything else is on exactly one. A page also ends early at 32 MiB.
    #[oai(path = "/list/:account", method = "post", operation_id = "list", tag = "Tag::Data")]
    async fn list(
        &self,
        /// The account: an isolated partition, 1 to 128 of `A-Z a-z 0-9 _ . -`.
        account: Path<AccountName>,
        _permit: Permitted,
        request: JsonBody<ListRequest>,
    ) -> poem::Result<Answer<ListAnswer>> {
        self.answer(|service| service.list(&account, request.0)).await
    }

    /// List the accounts
    ///
    /// One page in the order of their names (bytes). The next page begins after the last account of this one.
    #[oai(path = "/accounts", method = "get", operation_id = "listAccounts", tag = "Tag::Transfer")]
    async fn accounts(
        &self,
        /// Only accounts after this one: the last one of the page before.
        after: Query<Option<AccountName>>,
        /// At most so many; 100 when not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        /// Whether to tell how many bytes each stores. Most stores count through the rows of an account for that.
        sizes: Query<Option<bool>>,
        _permit: Permitted,
    ) -> poem::Result<Answer<AccountsAnswer>> {
        let with_sizes = sizes.0.unwrap_or_default();
        Ok(self.service()?.accounts(after.0.as_deref(), limit.0, with_sizes).await?.into())
    }

    /// Delete an account
    ///
    /// Everything in it, at one moment for its readers; what waits on its keys and locks is woken. The account's revision is
    /// kept, so that versions and handles never come again. While it is done requests to the account are answered 503.
    #[oai(
        path = "/accounts/:account",
        method = "delete",
        operation_id = "deleteAccount",
        tag = "Tag::Transfer"
    )]
    async fn delete_account(
        &self,
        /// The account: an isolated partition, 1 to 128 of `A-Z a-z 0-9 _ . -`.
        account: Path<AccountName>,
        _permit: Permitted,
    ) -> poem::Result<Answer<DeleteAnswer>> {
        Ok(delete_account(&self.service()?.frontend, &account).await?.into())
    }

    /// Export an account
    ///
    /// Everything in it as of one moment, as lines of JSON: values, counters, locks with their handles and leases,
    /// idempotency ids with their answers.
    #[oai(path = "/export/:account", method = "get", operation_id = "exportAccount", tag = "Tag::Transfer")]
    async fn export(
        &self,
        /// The account: an isolated partition, 1 to 128 of `A-Z a-z 0-9 _ . -`.
        account: Path<AccountName>,
        _permit: Permitted,
    ) -> poem::Result<ExportAnswer> {
        Ok(ExportAnswer::begin(&self.service()?.frontend, &account).await?)
    }

    /// Import an account
    ///
    /// All of the file, or nothing of it where it was cut off or changed. Keys keep their versions, locks their handles
    /// and leases; the account's revision goes on above that of the file and its own. While other content is put into the
    /// account's place, requests to it are answered 503.
    #[oai(path = "/import/:account", method = "post", operation_id = "importAccount", tag = "Tag::Transfer")]
    async fn import(
        &self,
        /// The account: an isolated partition, 1 to 128 of `A-Z a-z 0-9 _ . -`.
        account: Path<AccountName>,
        _permit: Permitted,
        /// What to do with what is in the account; `empty` when not given.
        mode: Query<Option<ImportMode>>,
        file: ImportBody,
    ) -> poem::Result<Answer<ImportAnswer>> {
        let mode = mode.0.map_or(Mode::Empty, Mode::from);
        Ok(file.import(&self.service()?.frontend, &account, mode).await?.into())
    }

    /// Take a backup
    ///
    /// Of all accounts, each as of one moment. It is taken to its end even if the client hangs up.
    #[oai(path = "/backups", method = "post", operation_id = "takeBackup", tag = "Tag::Backups")]
    async fn take_backup(&self, _permit: Permitted) -> poem::Result<Answer<BackupShape>> {
        Ok(Bytes::from(self.backups.take().await?.to_json_string()).into())
    }

    /// List the backups
    ///
    /// One page, the newest first. The next page begins after the last backup of this one.
    #[oai(path = "/backups", method = "get", operation_id = "listBackups", tag = "Tag::Backups")]
    async fn backups(
        &self,
        /// Only backups older than this one, by its id: the last one of the page before.
        after: Query<Option<String>>,
        /// At most so many; 100 when not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        _permit: Permitted,
    ) -> poem::Result<Answer<BackupsAnswer>> {
        Ok(Bytes::from(self.backups.list(after.0.as_deref(), limit.0).await?.to_json_string()).into())
    }

    /// How the server does
    ///
    /// Whether it can do its work, and, for those with the right `admin`, how what it does beside that goes: a backup that fails
    /// does not make it unready.
    #[oai(path = "/health", method = "get", operation_id = "getHealth", tag = "Tag::Operation")]
    async fn health(&self, permit: Permitted) -> poem::Result<Answer<HealthAnswer>> {
        self.service()?.frontend.ready().await.map_err(ApiError::from)?;
        let backups = if permit.0.allows(Right::Admin) { self.backups.health().await? } else { None };
        Ok(HealthAnswer::ok(backups))
    }

    /// Whether the process lives
    ///
    /// Answers whenever it can answer at all, whatever the store does.
    #[oai(path = "/health/live", method = "get", operation_id = "getLiveness", tag = "Tag::Operation")]
    async fn live(&self) -> Answer<HealthAnswer> {
        HealthAnswer::ok(None)
    }

    /// Whether the server can do its work and is not going down
    ///
    /// 503 while the store can't be reached or the server drains: send no new requests to it.
    #[oai(path = "/health/ready", method = "get", operation_id = "getReadiness", tag = "Tag::Operation")]
    async fn ready(&self) -> poem::Result<Answer<HealthAnswer>> {
        self.service()?.frontend.ready().await.map_err(ApiError::from)?;
        Ok(HealthAnswer::ok(None))
    }

    /// What the server counts
    ///
    /// Metrics in OpenMetrics' text form, as Prometheus reads it.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics", tag = "Tag::Operation")]
    async fn metrics(&self, _permit: Permitted) -> MetricsAnswer {
        MetricsAnswer(self.metrics.text())
    }
}

fn open_api(operations: Operations) -> OpenApiService<Operations, ()> {
    OpenApiService::new(operations, "Cloud Dragon", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .server("http://127.0.0.1:8080")
}

/// The OpenAPI document, as it is committed.
#[must_use]
pub fn document() -> String {
    let operations =
        Operations { service: None, backups: Backups::default(), metrics: Arc::new(Metrics::new()) };
    finish(&open_api(operations).spec())
}

/// All routes, with what surrounds them.
pub(crate) fn endpoint(
    service: Service,
    backups: Backups,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
) -> BoxEndpoint<'static, Response> {
    let limits: Arc<Limits> = Arc::clone(&service.limits);
    let frontend = service.frontend.clone();
    let operations = open_api(Operations { service: Some(service), backups, metrics });
    let spec = operations.spec();
    let document = finish(&spec);
    // The framework's page has the framework's document in it.
    let page = operations.swagger_ui_html().replace(&spec, &document);
    let page = poem::endpoint::make_sync(move |_| Html(page.clone()));
    let document = poem::endpoint::make_sync(move |_| {
        Response::builder().header(header::CONTENT_TYPE, "application/json").body(document.clone())
    });
    let routes = poem::Route::new()
        .at("/openapi.json", poem::get(document))
        .nest("/docs", poem::Route::new().at("/", poem::get(page)))
        .nest("/", operations)
        .data(limits);
    Surrounded { routes, admission, frontend }.boxed()
}

/// The routes and what every request goes through: admission, and the form of errors.
struct Surrounded<E> {
    routes: E,
    admission: Arc<Admission>,
    frontend: Frontend,
}

impl<E: Endpoint<Output: IntoResponse>> Endpoint for Surrounded<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let route = Route::of(request.uri().path());
        let account = route.account(request.uri().path()).map(Cow::into_owned);
        let (method, version) = (request.method().clone(), request.version());
        let head = Head::of(route, account.as_deref(), &request);
        let (mut ticket, admitted) = self.admission.admit(&head);
        let result = match admitted {
            // What access knows no needs of must not find its way to anything.
            Ok(_) if route == Route::Other => {
                discard(request).await;
                Err(ApiError::new(Code::NotFound, NO_PATH_MESSAGE).into())
            }
            Ok(permit) => {
                let mut request = request;
                request.extensions_mut().insert(permit);
                self.routes.call(request).await.map(IntoResponse::into_response)
            }
            Err(error) => {
                discard(request).await;
                Err(error.into())
            }
        };
        let mut response = match result {
            Ok(response) => response,
            Err(error) => match error.downcast_ref::<ApiError>() {
                Some(error) => error.response(),
                None => from_framework(&error, route).response(),
            },
        };
        self.admission.answered(&mut ticket, method.as_str(), response.status().as_u16());
        let id = HeaderValue::try_from(ticket.request_id.to_string());
        let id = id.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
        // Before connections are closed: a client must not send its next request just at that moment. HTTP/2 has its own way.
        if self.frontend.is_draining() && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SCHEME;

    #[test]
    fn a_token_is_named_where_one_may_be_asked_for() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], SCHEME);
        for (path, operations) in document["paths"].as_object().unwrap() {
            let is_for_all = matches!(path.as_str(), "/health/live" | "/health/ready");
            for (method, operation) in operations.as_object().unwrap() {
                let either = serde_json::json!([{"bearer": []}, {}]);
                let expected = if is_for_all { &serde_json::json!([]) } else { &either };
                assert_eq!(&operation["security"], expected, "{method} {path}");
            }
        }
    }
}
