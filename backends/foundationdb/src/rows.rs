//! Reading rows in a transaction, many at once. An account's own row is read so that the transaction conflicts
//! with whoever writes it: every write of the account does. All else is read as it is at that version.

use crate::failure::Failure;
use crate::keys::Keys;
use bytes::{Bytes, BytesMut};
use dragon_contract::BackendError;
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout::{self, HEADER_BYTES};
use foundationdb::{KeySelector, Transaction};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// Cells that are read at once.
const READS_AT_ONCE: usize = 1_000;
/// Rows in several pieces that are read at once.
const LARGE_READS_AT_ONCE: usize = 8;

/// A row as it is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// `None` = there is no such row.
    pub(crate) row: Option<Bytes>,
    /// The number before it: further pieces, or whether its account has rows in pieces.
    pub(crate) number: u8,
}

fn damaged(cell: &Cell, what: &str) -> Failure {
    Failure::Final(BackendError::Corrupt(format!("the row of {cell:?} {what}")))
}

/// Reads the rows of these cells, at most about so many bytes of them: of the last cells none, then.
pub(crate) async fn read_all(
    transaction: &Transaction,
    keys: &Keys,
    cells: &[Cell],
    bytes_max: usize,
) -> Result<Vec<Found>, Failure> {
    let heads: Vec<_> = cells.iter().map(|cell| read_head(transaction, keys, cell)).collect();
    let heads: Vec<Found> = stream::iter(heads).buffered(READS_AT_ONCE).try_collect().await?;
    let rows: Vec<_> =
        cells.iter().zip(heads).map(|(cell, head)| read_rest(transaction, keys, cell, head)).collect();
    let mut reading = stream::iter(rows).buffered(LARGE_READS_AT_ONCE);
    let mut found = Vec::with_capacity(cells.len());
    let mut bytes = 0;
    while bytes < bytes_max
        && let Some(row) = reading.try_next().await?
    {
        bytes += row.row.as_ref().map_or(0, Bytes::len);
        found.push(row);
    }
    Ok(found)
}

/// Reads a row's first piece.
async fn read_head(transaction: &Transaction, keys: &Keys, cell: &Cell) -> Result<Found, Failure> {
    let is_snapshot = cell.kind() != Kind::Meta;
    let Some(head) = transaction.get(&keys.head(cell), is_snapshot).await? else {
        return Ok(Found::default());
    };
    let (&number, first) = head.split_first().ok_or_else(|| damaged(cell, "is empty"))?;
    Ok(Found { row: Some(Bytes::copy_from_slice(first)), number })
}

/// Reads the further pieces of a row that has some.
async fn read_rest(
    transaction: &Transaction,
    keys: &Keys,
    cell: &Cell,
    head: Found,
) -> Result<Found, Failure> {
    let (Some(first), 1.., true) = (&head.row, head.number, cell.kind() != Kind::Meta) else {
        return Ok(head);
    };
    let mut row = BytesMut::from(first.as_ref());
    let pieces = (1..=head.number).map(|number| transaction.get(&keys.piece(cell, number), true));
    for piece in try_join_all(pieces).await? {
        row.extend_from_slice(&piece.ok_or_else(|| damaged(cell, "lacks a piece"))?);
    }
    Ok(Found { row: Some(row.freeze()), number: head.number })
}

/// The stamp of a row: the revision of its last write, 0 when there is none.
pub(crate) async fn stamp(transaction: &Transaction, keys: &Keys, cell: &Cell) -> Result<u64, Failure> {
    match transaction.get(&keys.head(cell), true).await? {
        None => Ok(0),
        Some(head) => Ok(layout::header(cell, head.get(1..).unwrap_or_default())?.revision),
    }
}

/// The cell, if its row, which was not read, is there in several pieces.
pub(crate) async fn is_in_pieces(
    transaction: &Transaction,
    keys: &Keys,
    cell: &Cell,
) -> Result<Option<Cell>, Failure> {
    let range = keys.pieces(cell);
    let selector = KeySelector::first_greater_or_equal(range.start.as_slice());
    let next = transaction.get_key(&selector, true).await?;
    Ok(range.contains(&next.to_vec()).then(|| cell.clone()))
}

/// As much of a row's first piece as tells when it expires.
pub(crate) fn header_of(head: &[u8]) -> Option<&[u8]> {
    head.get(1..=HEADER_BYTES)
}
