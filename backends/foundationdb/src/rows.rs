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
    /// The number before it: further pieces, or an account's flags.
    pub(crate) number: u8,
}

pub(crate) fn damaged(cell: &Cell, what: &str) -> Failure {
    Failure::Final(BackendError::Corrupt(format!("the row of {cell:?} {what}")))
}

/// Reads the rows of these cells, at most about so many bytes of them: of the last cells none, then.
pub(crate) async fn read_all(
    transaction: &Transaction,
    keys: &Keys,
    cells: &[Cell],
    bytes_max: usize,
) -> Result<Vec<Found>, Failure> {
    read_as_wanted(transaction, keys, cells, |_| false, bytes_max).await
}

/// The same, with no more than the header, perhaps, of rows of which that is enough.
pub(crate) async fn read_as_wanted(
    transaction: &Transaction,
    keys: &Keys,
    cells: &[Cell],
    is_header_enough: impl Fn(&Cell) -> bool,
    bytes_max: usize,
) -> Result<Vec<Found>, Failure> {
    let heads: Vec<_> = cells.iter().map(|cell| read_head(transaction, keys, cell)).collect();
    let heads: Vec<Found> = stream::iter(heads).buffered(READS_AT_ONCE).try_collect().await?;
    let rows: Vec<_> = cells
        .iter()
        .zip(heads)
        .map(|(cell, head)| read_rest(transaction, keys, cell, head, is_header_enough(cell)))
        .collect();
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

/// The number before a row's first piece, and the piece.
pub(crate) fn split_head<'a>(cell: &Cell, head: &'a [u8]) -> Result<(u8, &'a [u8]), Failure> {
    head.split_first().map(|(number, first)| (*number, first)).ok_or_else(|| damaged(cell, "is empty"))
}

/// Reads a row's first piece.
async fn read_head(transaction: &Transaction, keys: &Keys, cell: &Cell) -> Result<Found, Failure> {
    let is_snapshot = cell.kind() != Kind::Meta;
    let Some(head) = transaction.get(&keys.head(cell), is_snapshot).await? else {
        return Ok(Found::default());
    };
    let (number, first) = split_head(cell, &head)?;
    Ok(Found { row: Some(Bytes::copy_from_slice(first)), number })
}

/// Reads the further pieces of a row that has some.
async fn read_rest(
    transaction: &Transaction,
    keys: &Keys,
    cell: &Cell,
    head: Found,
    is_header_enough: bool,
) -> Result<Found, Failure> {
    let is_all = is_header_enough || cell.kind() == Kind::Meta;
    let (Some(first), 1.., false) = (&head.row, head.number, is_all) else {
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
