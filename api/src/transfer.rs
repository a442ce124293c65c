//! Export and import as HTTP carries them: lines of JSON that are read and written piece by piece, whatever their
//! number.

use crate::error::{ApiError, Code, ErrorShape};
use crate::json_body::throw_away;
use crate::responses::{answer_meta, content};
use bytes::Bytes;
use dragon_contract::BackendError;
use dragon_core::answer::Answer;
use dragon_core::cell::Account;
use dragon_transfer::{ExportError, ImportError, Imported, Mode, delete, export, import};
use dragon_waiters::{Failure, Frontend};
use futures_util::{Stream, StreamExt as _, stream};
use poem::http::header;
use poem::{Body, IntoResponse, Request, RequestBody, Response};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, Enum, ExtractParamOptions, Object};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

/// What an exported account is declared as.
const MEDIA_TYPE: &str = "application/x-ndjson";
/// How long the next piece of an import may take to arrive, and one of an export to be taken.
const PIECE_TIME_MAX: Duration = Duration::from_secs(60);

/// What an import does with what is in the account.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum ImportMode {
    /// There must be nothing in it
    Empty,
    /// It is replaced
    Replace,
}

impl From<ImportMode> for Mode {
    fn from(mode: ImportMode) -> Self {
        match mode {
            ImportMode::Empty => Self::Empty,
            ImportMode::Replace => Self::Replace,
        }
    }
}

/// A page of accounts.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub(crate) struct AccountsAnswer {
    /// In the order of their names.
    pub(crate) accounts: Vec<AccountState>,
    /// True when there are more.
    pub(crate) more: Option<bool>,
}

/// An account.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase", skip_serializing_if_is_none)]
pub(crate) struct AccountState {
    /// Its name.
    pub(crate) account: String,
    /// When `sizes` was asked for: how many bytes its rows take, with their keys and what each row takes besides. What has
    /// expired and is not deleted yet counts too. For large accounts on FoundationDB it is an estimate. Absent where it could
    /// not be told.
    pub(crate) bytes: Option<u64>,
}

/// What was imported.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase")]
pub(crate) struct ImportAnswer {
    /// How many values, counters, locks and idempotency ids.
    pub(crate) rows: u64,
    /// The account's revision from here on: above that of the file and the account's own, by 2^32.
    pub(crate) version: u64,
}

/// What was deleted.
#[derive(Debug, Object)]
#[oai(rename_all = "PascalCase")]
pub(crate) struct DeleteAnswer {
    /// The account's revision, which it goes on from if it is written again.
    pub(crate) version: u64,
}

/// Deletes an account.
pub(crate) async fn delete_account(frontend: &Frontend, account: &str) -> Result<Bytes, ApiError> {
    let revision = delete(frontend, &Account::new(account)?).await?;
    let mut answer = Answer::default();
    answer.number("Version", revision);
    Ok(answer.finish())
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Replacing => dragon_core::verdict::Rejection::Replacing.into(),
            ExportError::Backend(error) => error.into(),
        }
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Format(error) => {
                Self::new(Code::InvalidRequest, format!("The file can't be imported: {error}."))
            }
            ImportError::Source(detail) => {
                Self::new(Code::InvalidRequest, format!("The file did not arrive whole: {detail}."))
            }
            ImportError::NotEmpty => {
                let message = "The account is not empty; import into another one, or say mode=replace.";
                Self::new(Code::NotEmpty, message)
            }
            ImportError::UnderWay => {
                let message = "Another import of this account is under way; wait until it has ended.";
                Self::new(Code::ImportUnderWay, message)
            }
            ImportError::Failure(Failure::Backend(BackendError::OutcomeUnknown(detail))) => {
                tracing::error!(detail, "an import was interrupted");
                let message = "The store failed while the account's content was being replaced; the import is completed \
                               once it is back, and until then requests to the account are turned away.";
                Self::new(Code::OutcomeUnknown, message)
            }
            ImportError::Failure(failure) => failure.into(),
        }
    }
}

/// An account on its way out.
pub(crate) struct ExportAnswer {
    account: Account,
    body: Body,
}

impl ExportAnswer {
    /// Begins it.
    pub(crate) async fn begin(frontend: &Frontend, account: &str) -> Result<Self, ApiError> {
        let account = Account::new(account)?;
        let lines = export(frontend, &account).await?;
        let (to_client, pieces) = channel(1);
        tokio::spawn(pass_on(lines, to_client));
        let pieces = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
        Ok(Self { account, body: Body::from_bytes_stream(pieces) })
    }
}

/// Hands the pieces to the client as it takes them. One that takes none for long loses the rest, so that it does not
/// hold the store up.
async fn pass_on(
    lines: impl Stream<Item = Result<Bytes, ExportError>>,
    to_client: Sender<io::Result<Bytes>>,
) {
    let mut lines = pin!(lines);
    while let Some(piece) = lines.next().await {
        let piece = piece.map_err(io::Error::other);
        let is_broken =
            piece.as_ref().inspect_err(|error| tracing::warn!(%error, "an export broke off")).is_err();
        let is_taken = timeout(PIECE_TIME_MAX, to_client.send(piece)).await.is_ok_and(|sent| sent.is_ok());
        if is_broken || !is_taken {
            break;
        }
    }
}

impl IntoResponse for ExportAnswer {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.ndjson\"", self.account))
            .body(self.body)
    }
}

fn lines_content() -> Vec<MetaMediaType> {
    content::<String>(MEDIA_TYPE)
}

impl ApiResponse for ExportAnswer {
    fn meta() -> MetaResponses {
        let mut meta = answer_meta::<String>(&[]);
        meta.responses.retain(|response| !matches!(response.status, Some(413 | 415)));
        meta.responses[0].description =
            "Lines of JSON, the last one of the Kind `End`: without it the file was cut off";
        meta.responses[0].content = lines_content();
        meta
    }

    fn register(registry: &mut Registry) {
        ErrorShape::register(registry);
    }
}

/// An account on its way in.
pub(crate) struct ImportBody(Body);

impl ImportBody {
    /// Imports it.
    pub(crate) async fn import(
        self,
        frontend: &Frontend,
        account: &str,
        mode: Mode,
    ) -> Result<Bytes, ApiError> {
        let account = Account::new(account)?;
        // Fused: it may have ended before what it brought was found wanting.
        let mut pieces = Box::pin(pieces(self.0).fuse());
        let imported = import(frontend, &account, mode, &mut pieces).await;
        if imported.is_err() {
            throw_away(&mut pieces).await;
        }
        let Imported { rows, revision } = imported?;
        let mut answer = Answer::default();
        answer.number("Rows", rows);
        answer.number("Version", revision);
        Ok(answer.finish())
    }
}

/// The body's pieces, each of which must come in time.
fn pieces(body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Box::pin(body.into_bytes_stream()), |mut pieces| async {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "nothing came for a minute");
        let piece = timeout(PIECE_TIME_MAX, pieces.next()).await.unwrap_or_else(|_| Some(Err(late())))?;
        Some((piece, pieces))
    })
}

impl<'a> ApiExtractor<'a> for ImportBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let description = Some("What `GET /export/{account}` has given");
        Some(MetaRequest { description, content: lines_content(), required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let declared = request.headers().get(header::CONTENT_TYPE).map(|declared| declared.as_bytes());
        let media_type = declared.and_then(|declared| declared.split(|byte| *byte == b';').next());
        let media_type = media_type.map(|media_type| media_type.trim_ascii().to_ascii_lowercase());
        match media_type.as_deref() {
            None | Some(b"application/x-ndjson" | b"application/ndjson" | b"application/octet-stream") => {
                Ok(Self(body.take()?))
            }
            Some(_) => {
                let message = "The body must be an exported account: send the header Content-Type: application/x-ndjson.";
                Err(ApiError::new(Code::UnsupportedMediaType, message).into())
            }
        }
    }
}
