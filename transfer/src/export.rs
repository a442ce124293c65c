//! An account as a stream of lines.

use crate::format::{Encoder, Head};
use bytes::Bytes;
use dragon_contract::{BackendError, Snapshot};
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

/// What is still to be written.
struct Exporting {
    snapshot: Box<dyn Snapshot>,
    /// `None` once the end is written.
    encoder: Option<Encoder>,
}

/// Begins to export an account as of one moment. An account that is not there has nothing in it, and the revision 0.
///
/// # Errors
/// [`ExportError`]. A stream that ends with an error lacks its last line.
pub async fn export(
    frontend: &Frontend,
    account: &Account,
) -> Result<impl Stream<Item = Result<Bytes, ExportError>> + Send + use<>, ExportError> {
    let mut snapshot = frontend.backend().snapshot(account).await?;
    let rows = snapshot.next().await?;
    let meta_row = rows.first().filter(|(cell, _)| cell.kind() == Kind::Meta).map(|(_, row)| row);
    let Meta { revision, mark_ms, replacement, .. } =
        layout::read_meta(&Cell::meta(account), meta_row).map_err(BackendError::from)?;
    if replacement.is_some() {
        return Err(ExportError::Replacing);
    }
    let (mut encoder, first) = Encoder::begin(&Head { account: account.as_str().into(), revision, mark_ms });
    let more = encoder.rows(&rows).map_err(BackendError::from)?;
    let begun = [Ok(first), Ok(more)];
    let exporting = Exporting { snapshot, encoder: Some(encoder) };
    let rest = try_unfold(exporting, |mut exporting| async {
        let Some(mut encoder) = exporting.encoder.take() else { return Ok(None) };
        let rows = exporting.snapshot.next().await?;
        if rows.is_empty() {
            return Ok(Some((encoder.end(), exporting)));
        }
        let lines = encoder.rows(&rows).map_err(BackendError::from)?;
        exporting.encoder = Some(encoder);
        Ok(Some((lines, exporting)))
    });
    Ok(futures_util::StreamExt::chain(futures_util::stream::iter(begun), rest))
}
