//! An account as a stream of lines.

use crate::format::{Encoder, Head};
use bytes::Bytes;
use dragon_contract::{BackendError, NamedRow, Snapshot};
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::layout::{self, Meta};
use dragon_waiters::Frontend;
use futures_util::stream::{Stream, try_unfold};

/// Why an account can't be exported, or not to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExportError {
    /// An import is putting other content into its place.
    #[error("an import is replacing the account's content")]
    Replacing,
    /// The store could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// An account that is being exported, as of one moment: its head, and its rows step by step.
pub struct Exporting {
    /// What is said of the account before its rows.
    pub head: Head,
    /// Those that were read with the head.
    first: Vec<NamedRow>,
    snapshot: Box<dyn Snapshot>,
}

impl Exporting {
    /// Begins. An account that is not there has nothing in it, and the revision 0.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn begin(frontend: &Frontend, account: &Account) -> Result<Self, ExportError> {
        let mut snapshot = frontend.backend().snapshot(account).await?;
        let first = snapshot.next().await?;
        let meta_row = first.first().filter(|(cell, _)| cell.kind() == Kind::Meta).map(|(_, row)| row);
        let Meta { revision, mark_ms, replacement, .. } =
            layout::read_meta(&Cell::meta(account), meta_row).map_err(BackendError::from)?;
        if replacement.is_some() {
            return Err(ExportError::Replacing);
        }
        let head = Head { account: account.as_str().into(), revision, mark_ms };
        Ok(Self { head, first, snapshot })
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// The store's. There are no more to be had then.
    pub async fn next(&mut self) -> Result<Vec<NamedRow>, BackendError> {
        if self.first.is_empty() { self.snapshot.next().await } else { Ok(std::mem::take(&mut self.first)) }
    }
}

/// Exports an account as lines.
///
/// # Errors
/// [`ExportError`]. A stream that ends with an error lacks its last line.
pub async fn export(
    frontend: &Frontend,
    account: &Account,
) -> Result<impl Stream<Item = Result<Bytes, ExportError>> + Send + use<>, ExportError> {
    let exporting = Exporting::begin(frontend, account).await?;
    let (encoder, first) = Encoder::begin(&exporting.head);
    let rest = try_unfold((exporting, Some(encoder)), |(mut exporting, encoder)| async {
        let Some(mut encoder) = encoder else { return Ok(None) };
        let rows = exporting.next().await?;
        if rows.is_empty() {
            return Ok(Some((encoder.end(), (exporting, None))));
        }
        let lines = encoder.rows(&rows).map_err(BackendError::from)?;
        Ok(Some((lines, (exporting, Some(encoder)))))
    });
    Ok(futures_util::StreamExt::chain(futures_util::stream::iter([Ok(first)]), rest))
}
