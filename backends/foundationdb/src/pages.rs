//! Lists of names, page by page, each at one version.

use crate::committer::Frontend;
use crate::failure::Failure;
use crate::keys::{CellKey, Keys};
use crate::rows::{damaged, split_head};
use bytes::{Bytes, BytesMut};
use dragon_contract::{AccountsPage, BackendError, stored_cell};
use dragon_core::cell::{Account, Cell, Kind, all_of, past};
use dragon_core::page::{Page, Query};
use foundationdb::options::StreamingMode;
use foundationdb::{RangeOption, Transaction};
use futures_util::TryStreamExt as _;
use std::ops::{ControlFlow, Range};

/// Accounts up to this size are counted: the cluster estimates from samples, which says little of small ones.
const EXACT_BYTES_MAX: u64 = 8 << 20;

/// A row whose pieces are still to come.
struct Begun {
    cell: Cell,
    row: BytesMut,
    /// How many are still to come.
    missing: u8,
}

pub(crate) async fn scan(frontend: &Frontend, query: &Query) -> Result<Page, Failure> {
    let transaction = frontend.begin()?;
    let keys = &frontend.keys;
    let meta = query.meta();
    let meta_row = crate::rows::read_all(&transaction, keys, std::slice::from_ref(&meta), usize::MAX).await?;
    let meta_row = meta_row.into_iter().next().and_then(|found| found.row);
    let mut page = Page::begin(query, meta_row.as_ref(), frontend.clock.now_ms())?;
    each_row(&transaction, keys, &(query.from()..query.end()), |cell, row| Ok(page.push(cell, row)?)).await?;
    Ok(page)
}

/// Hands the rows of these names to `visit` in their order, until it says stop. Whether it did.
pub(crate) async fn each_row(
    transaction: &Transaction,
    keys: &Keys,
    names: &Range<Vec<u8>>,
    mut visit: impl FnMut(Cell, Bytes) -> Result<ControlFlow<()>, Failure>,
) -> Result<bool, Failure> {
    let range = RangeOption::from((keys.name(&names.start), keys.name(&names.end)));
    let range = RangeOption { mode: StreamingMode::Iterator, ..range };
    let mut stored = transaction.get_ranges_keyvalues(range, true);
    let mut begun: Option<Begun> = None;
    while let Some(next) = stored.try_next().await? {
        match keys.cell_key(next.key()) {
            Some(CellKey::Head(name)) => {
                refuse_incomplete(begun.take())?;
                let cell = stored_cell(Bytes::copy_from_slice(name))?;
                let (number, first) = split_head(&cell, next.value())?;
                let missing = if cell.kind() == Kind::Meta { 0 } else { number };
                begun = Some(Begun { cell, row: BytesMut::from(first), missing });
            }
            Some(CellKey::Piece(name)) => match &mut begun {
                Some(begun) if begun.cell.as_bytes() == name && begun.missing > 0 => {
                    begun.row.extend_from_slice(next.value());
                    begun.missing -= 1;
                }
                // Of the row that the page comes after.
                _ => {}
            },
            None => {}
        }
        if begun.as_ref().is_some_and(|begun| begun.missing == 0)
            && let Some(whole) = begun.take()
            && visit(whole.cell, whole.row.freeze())?.is_break()
        {
            return Ok(true);
        }
    }
    refuse_incomplete(begun)?;
    Ok(false)
}

fn refuse_incomplete(begun: Option<Begun>) -> Result<(), Failure> {
    match begun {
        None => Ok(()),
        Some(begun) => Err(damaged(&begun.cell, "lacks a piece")),
    }
}

/// How many bytes the account's rows have, names included: what the cluster estimates, where that is much.
pub(crate) async fn stored_bytes(frontend: &Frontend, account: &Account) -> Result<u64, Failure> {
    let transaction = frontend.begin()?;
    let names = all_of(account);
    let (begin, end) = (frontend.keys.name(&names.start), frontend.keys.name(&names.end));
    let estimate = transaction.get_estimated_range_size_bytes(&begin, &end).await?.cast_unsigned();
    if estimate > EXACT_BYTES_MAX {
        return Ok(estimate);
    }
    let mut bytes = 0;
    each_row(&transaction, &frontend.keys, &names, |cell, row| {
        bytes += (cell.as_bytes().len() + row.len()) as u64;
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(bytes)
}

pub(crate) async fn accounts(
    frontend: &Frontend,
    after: Option<&Account>,
    limit: usize,
) -> Result<AccountsPage, Failure> {
    let transaction = frontend.begin()?;
    let mut from = after.map_or_else(Vec::new, past);
    let mut page = AccountsPage::default();
    while let Some(account) = next_account(frontend, &transaction, &from).await? {
        if page.accounts.len() == limit {
            page.more = true;
            break;
        }
        from = past(&account);
        page.accounts.push(account);
    }
    Ok(page)
}

async fn next_account(
    frontend: &Frontend,
    transaction: &Transaction,
    from: &[u8],
) -> Result<Option<Account>, Failure> {
    let keys = &frontend.keys;
    let range = RangeOption::from((keys.name(from), keys.end_of_cells()));
    let next = transaction.get_range(&RangeOption { limit: Some(1), ..range }, 1, true).await?;
    let Some(next) = next.first() else { return Ok(None) };
    let Some(CellKey::Head(name) | CellKey::Piece(name)) = keys.cell_key(next.key()) else {
        let what = format!("a stored key is no cell's: {}", next.key().escape_ascii());
        return Err(Failure::Final(BackendError::Corrupt(what)));
    };
    Ok(Some(stored_cell(Bytes::copy_from_slice(name))?.account()))
}
