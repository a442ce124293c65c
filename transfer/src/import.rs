//! An import: the rows of a file are staged beside the account's content; once the file was read to its end and
//! found good, the account is closed, its content replaced, and opened again. What ends it before leaves the account as it
//! was; what ends it after is completed by whoever finds it.

use crate::format::{Decoder, Encoder, FormatError, Head};
use crate::registry::{Content, Driver, Note};
use crate::resume::resume;
use crate::steps::{STEP_BYTES, STEP_ROWS, Steps, is_empty};
use bytes::Bytes;
use dragon_contract::{BackendError, NamedRow};
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell};
use dragon_core::layout;
use dragon_core::limits::{REVISION_MAX, REVISIONS_SKIPPED};
use dragon_core::replace::Action;
use dragon_core::verdict::Rejection;
use dragon_waiters::{Failure, Frontend};
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::pin::pin;
use tokio::task::JoinError;

/// How far a file's time mark may be ahead of the store's time, in milliseconds: until it has come, the account's time
/// stands still.
const AHEAD_MS_MAX: UnixMs = 86_400_000;

/// What becomes of what is in the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// There must be nothing.
    #[default]
    Empty,
    /// It is replaced.
    Replace,
}

/// What the steps are taken for, as it is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// [`Mode::Empty`].
    Empty,
    /// [`Mode::Replace`].
    Replace,
    /// The account is deleted: what comes has no rows.
    Delete,
}

impl From<Mode> for Purpose {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Empty => Self::Empty,
            Mode::Replace => Self::Replace,
        }
    }
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// How many rows.
    pub rows: u64,
    /// The account's revision from here on.
    pub revision: u64,
}

/// Why nothing was imported. The account is as it was, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no exported account, or was cut off or changed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// There is something in the account, and nobody said that it may be replaced.
    #[error("the account is not empty: import into another one, or have it replaced")]
    NotEmpty,
    /// Another import of this account is under way.
    #[error("another import of this account is under way")]
    UnderWay,
    /// The file did not arrive.
    #[error("the file did not arrive whole: {0}")]
    Source(String),
    /// The server could not do it.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<BackendError> for ImportError {
    fn from(error: BackendError) -> Self {
        Self::Failure(error.into())
    }
}

/// Imports an account from a file's bytes. It is carried to its end, or undone, even when nobody waits for it.
///
/// # Errors
/// [`ImportError`]; nothing was changed then, unless the outcome is unknown.
pub async fn import<E: std::fmt::Display>(
    frontend: &Frontend,
    account: &Account,
    mode: Mode,
    chunks: impl Stream<Item = Result<Bytes, E>>,
) -> Result<Imported, ImportError> {
    carry_out(frontend, account, mode.into(), chunks).await
}

async fn carry_out<E: std::fmt::Display>(
    frontend: &Frontend,
    account: &Account,
    purpose: Purpose,
    chunks: impl Stream<Item = Result<Bytes, E>>,
) -> Result<Imported, ImportError> {
    if purpose == Purpose::Empty && !is_empty(frontend, account).await? {
        return Err(ImportError::NotEmpty);
    }
    let begun = begin(frontend, account, purpose).await.map_err(before_closing)?;
    let mut begun = Begun { driver: Some(begun), account: account.clone() };
    let staged = match begun.stage(chunks).await {
        Ok(staged) => staged,
        Err(error) => {
            begun.undo().await;
            return Err(before_closing(error));
        }
    };
    // From here on it goes its way even if nobody waits any more.
    let replacing = tokio::spawn(async move {
        let replaced = begun.replace(purpose, staged).await;
        begun.undo().await;
        replaced
    });
    let unknown = |error: JoinError| Failure::Backend(BackendError::OutcomeUnknown(error.to_string()));
    replacing.await.unwrap_or_else(|error| Err(unknown(error).into()))
}

/// Before the account is closed the outcome is known, whatever became of a step: it will be taken back.
fn before_closing(error: ImportError) -> ImportError {
    match error {
        ImportError::Failure(Failure::Backend(BackendError::OutcomeUnknown(reason))) => {
            BackendError::Unavailable(reason).into()
        }
        // Another driver has come.
        ImportError::Failure(Failure::Rejected(Rejection::Replacing | Rejection::NotLocked { .. })) => {
            ImportError::UnderWay
        }
        error => error,
    }
}

/// Deletes an account: everything in it at one moment for its readers. Its revision is kept, so that versions and handles never
/// come again. Returns the revision; one that is not there stays as it is.
///
/// # Errors
/// [`ImportError`], as those of an import that replaces the content.
pub async fn delete(frontend: &Frontend, account: &Account) -> Result<u64, ImportError> {
    let before = meta(frontend, account).await?;
    if !before.is_there() && before.replacement.is_none() {
        return Ok(before.revision);
    }
    let (encoder, first) =
        Encoder::begin(&Head { account: account.as_str().into(), revision: 0, mark_ms: 0 });
    let nothing = stream::iter([first, encoder.end()].map(Ok::<_, Infallible>));
    Ok(carry_out(frontend, account, Purpose::Delete, nothing).await?.revision)
}

async fn begin(frontend: &Frontend, account: &Account, purpose: Purpose) -> Result<Driver, ImportError> {
    if let Some(driver) = Driver::begin(frontend, account, purpose).await? {
        return Ok(driver);
    }
    // One that was interrupted is ended first.
    resume(frontend, account).await?;
    Driver::begin(frontend, account, purpose).await?.ok_or(ImportError::UnderWay)
}

/// An import that takes back what it has staged when it is dropped before the account is closed.
struct Begun {
    /// `None` once there is nothing to take back.
    driver: Option<Driver>,
    account: Account,
}

impl Begun {
    async fn stage<E: std::fmt::Display>(
        &self,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(Head, u64), ImportError> {
        let Some(driver) = &self.driver else { return Err(ImportError::UnderWay) };
        let steps = driver.steps(&self.account);
        // What an import has left that lost its lock.
        steps.discard().await?;
        Staging::new(steps).take_all(chunks).await
    }

    /// Takes back what is staged, if there is something to take back.
    async fn undo(&mut self) {
        if let Some(driver) = self.driver.take() {
            undo(driver, self.account.clone()).await;
        }
    }

    async fn replace(
        &mut self,
        purpose: Purpose,
        (head, rows): (Head, u64),
    ) -> Result<Imported, ImportError> {
        let Some(driver) = &self.driver else { return Err(ImportError::UnderWay) };
        let (steps, import) = (driver.steps(&self.account), driver.number());
        let content = Content { revision: head.revision, mark_ms: head.mark_ms };
        let note = Note { import: Some(import), mode: purpose, content: Some(content) };
        driver.note(&note).await.map_err(|error| before_closing(error.into()))?;
        let is_unknown =
            |failure: &Failure| matches!(failure, Failure::Backend(BackendError::OutcomeUnknown(_)));
        let closed = steps.take(Action::Close(import)).await;
        let replaced = match closed {
            Err(failure) if !is_unknown(&failure) => return Err(before_closing(failure.into())),
            Err(failure) => Err(failure.into()),
            Ok(()) => complete(steps, (import, purpose, content)).await,
        };
        if let Err(ImportError::NotEmpty) = replaced {
            return Err(ImportError::NotEmpty);
        }
        // There is nothing to take back any more.
        let driver = self.driver.take();
        let later = |error| BackendError::OutcomeUnknown(format!("the import goes on later: {error}"));
        let revision = replaced.map_err(later)?;
        if let Some(driver) = driver
            && let Err(error) = driver.end().await
        {
            tracing::warn!(%error, account = %self.account, "the note of an import is taken away later");
        }
        Ok(Imported { rows, revision })
    }
}

/// Takes back what is staged. Where that fails the note stays, and someone will do it later.
async fn undo(driver: Driver, account: Account) {
    let undone = match driver.steps(&account).discard().await {
        Ok(()) => driver.end().await,
        Err(failure) => Err(failure),
    };
    if let Err(error) = undone {
        tracing::warn!(%error, %account, "an import that failed is taken back later");
    }
}

impl Drop for Begun {
    /// Nobody waits any more.
    fn drop(&mut self) {
        if let (Some(driver), Ok(runtime)) = (self.driver.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(undo(driver, self.account.clone()));
        }
    }
}

/// Carries the import of a closed account to its end, from wherever it is. Returns the revision from then on.
pub(crate) async fn complete(
    steps: Steps<'_>,
    (import, purpose, content): (u64, Purpose, Content),
) -> Result<u64, ImportError> {
    let meta = meta(steps.frontend, steps.account).await?;
    if !meta.replacement.is_some_and(|replacement| replacement.is_cleared) {
        if purpose == Purpose::Empty && !is_empty(steps.frontend, steps.account).await? {
            steps.take(Action::Reopen).await?;
            return Err(ImportError::NotEmpty);
        }
        steps.clear().await?;
    }
    steps.place(import).await?;
    Ok(steps.open(content, purpose == Purpose::Delete).await?)
}

/// The account's own row.
///
/// # Errors
/// The store's.
pub async fn meta(frontend: &Frontend, account: &Account) -> Result<layout::Meta, BackendError> {
    let meta = Cell::meta(account);
    let loaded = frontend.backend().load(std::slice::from_ref(&meta)).await?;
    Ok(layout::read_meta(&meta, loaded.rows.first().and_then(Option::as_ref))?)
}

/// Puts rows beside the account's content.
struct Staging<'a> {
    steps: Steps<'a>,
    decoder: Decoder,
    rows: Vec<NamedRow>,
    bytes: usize,
}

impl<'a> Staging<'a> {
    fn new(steps: Steps<'a>) -> Self {
        Self { steps, decoder: Decoder::new(steps.account.clone()), rows: Vec::new(), bytes: 0 }
    }

    /// Reads the file to its end.
    async fn take_all<E: std::fmt::Display>(
        mut self,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(Head, u64), ImportError> {
        let mut chunks = pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| ImportError::Source(error.to_string()))?;
            if self.steps.frontend.is_draining() {
                return Err(Failure::Draining.into());
            }
            for row in self.decoder.push(&chunk)? {
                self.push(row).await?;
            }
        }
        self.flush().await?;
        let (head, rows) = self.decoder.finish()?;
        let now_ms = self.steps.frontend.backend().health().await?.now_ms;
        if head.mark_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(FormatError::Ahead.into());
        }
        let own = meta(self.steps.frontend, self.steps.account).await?.revision;
        if own > REVISION_MAX - 2 * REVISIONS_SKIPPED {
            return Err(FormatError::NoRoom.into());
        }
        Ok((head, rows))
    }

    async fn push(&mut self, (cell, row): NamedRow) -> Result<(), ImportError> {
        self.bytes += cell.as_bytes().len() + row.len();
        self.rows.push((cell.staged(self.steps.driver), row));
        if self.rows.len() >= STEP_ROWS || self.bytes >= STEP_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        match self.steps.take(Action::Stage(rows)).await {
            Err(Failure::Rejected(Rejection::Replacing)) => Err(ImportError::UnderWay),
            staged => Ok(staged?),
        }
    }
}
