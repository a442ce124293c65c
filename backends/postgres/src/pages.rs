//! Lists of names, page by page, each at one moment.

use crate::failure::Failure;
use crate::rows::{self, Found, StoreClock, Wanted, named_row};
use dragon_contract::{AccountsPage, BackendError, NamedRow, stored_cell};
use dragon_core::cell::{Account, past};
use dragon_core::page::{Page, Query};
use sqlx::{Connection as _, PgConnection, Row as _};
use std::ops::Range;

/// Rows that are fetched at once for a page, …
const PAGE_ROWS: usize = 100;
/// … and bytes, about: large values must not fill the memory.
const PAGE_BYTES: usize = 2 << 20;
/// Rows that are counted at once: a second's work at most.
const COUNTED_ROWS: i64 = 100_000;
/// A transaction whose statements all see the same moment.
pub(crate) const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(crate) async fn scan(
    connection: &mut PgConnection,
    query: &Query,
    clock: &StoreClock,
) -> Result<Page, Failure> {
    let mut transaction = connection.begin_with(ONE_MOMENT).await?;
    let meta = query.meta();
    let mut wanted = Wanted::default();
    wanted.push(&meta, None);
    let read = rows::read(&mut transaction, &wanted, usize::MAX).await?;
    let now_ms = clock.read(read.database_ms);
    let meta_row = read.found.into_iter().next().and_then(Found::row);
    let mut page = Page::begin(query, meta_row.as_ref(), now_ms).map_err(BackendError::from)?;
    let (lane, mut names) = (rows::lane(&meta), query.from()..query.end());
    'page: loop {
        let (next, is_last) = next_rows(&mut transaction, lane, &mut names, (PAGE_ROWS, PAGE_BYTES)).await?;
        for (cell, row) in next {
            if page.push(cell, row).map_err(BackendError::from)?.is_break() {
                break 'page;
            }
        }
        if is_last {
            break;
        }
    }
    transaction.rollback().await?;
    Ok(page)
}

/// The next rows of these names, so many and about so many bytes at most, and whether they are the last ones. The
/// names are those that are left, then. Of the rows that are one too many the values, which lie apart, are not read.
pub(crate) async fn next_rows(
    connection: &mut PgConnection,
    lane: i16,
    names: &mut Range<Vec<u8>>,
    (rows_max, bytes_max): (usize, usize),
) -> Result<(Vec<NamedRow>, bool), Failure> {
    const NEXT: &str = "SELECT name, content, found FROM ( \
            SELECT name, content, count(*) OVER () AS found, sum(octet_length(content)) OVER (ORDER BY name \
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before \
            FROM (SELECT name, content FROM cell WHERE lane = $1 AND name >= $2 AND name < $3 \
                ORDER BY name LIMIT $4) AS upcoming) AS next \
        WHERE bytes_before IS NULL OR bytes_before < $5 ORDER BY name";
    let next = sqlx::query(NEXT).bind(lane).bind(&names.start).bind(&names.end);
    let next = next.bind(rows_max as i64).bind(bytes_max as i64).fetch_all(connection).await?;
    let found = next.first().map(|row| row.try_get::<i64, _>(2)).transpose()?.unwrap_or_default() as usize;
    let rows = next.iter().map(named_row).collect::<Result<Vec<_>, _>>()?;
    if let Some((last, _)) = rows.last() {
        names.start = [last.as_bytes().as_ref(), &[0]].concat();
    }
    let is_last = rows.len() == found && found < rows_max;
    Ok((rows, is_last))
}

pub(crate) async fn accounts(
    connection: &mut PgConnection,
    after: Option<&Account>,
    limit: usize,
) -> Result<AccountsPage, Failure> {
    const NEXT: &str = "SELECT name FROM cell WHERE name >= $1 ORDER BY name LIMIT 1";
    let mut from = after.map_or_else(Vec::new, past);
    let mut page = AccountsPage::default();
    let mut transaction = connection.begin_with(ONE_MOMENT).await?;
    loop {
        let next = sqlx::query_scalar(NEXT).bind(&from).fetch_optional(&mut *transaction).await?;
        let Some(name): Option<Vec<u8>> = next else { break };
        if page.accounts.len() == limit {
            page.more = true;
            break;
        }
        let account = stored_cell(name)?.account();
        from = past(&account);
        page.accounts.push(account);
    }
    transaction.rollback().await?;
    Ok(page)
}

/// How many bytes the rows of the first of these names have, names included. The names are those that are left, then. Values,
/// which lie apart, are not read for it.
pub(crate) async fn next_stored_bytes(
    connection: &mut PgConnection,
    lane: i16,
    names: &mut Range<Vec<u8>>,
) -> Result<u64, Failure> {
    const END: &str =
        "SELECT name FROM cell WHERE lane = $1 AND name >= $2 AND name < $3 ORDER BY name OFFSET $4 LIMIT 1";
    const SUM: &str = "SELECT coalesce(sum(octet_length(name) + octet_length(content)), 0)::bigint FROM cell \
        WHERE lane = $1 AND name >= $2 AND name < $3";
    let mut transaction = connection.begin_with(ONE_MOMENT).await?;
    let end = sqlx::query_scalar(END).bind(lane).bind(&names.start).bind(&names.end).bind(COUNTED_ROWS);
    let end = end.fetch_optional(&mut *transaction).await?.unwrap_or_else(|| names.end.clone());
    let sum = sqlx::query_scalar(SUM).bind(lane).bind(&names.start).bind(&end);
    let bytes: i64 = sum.fetch_one(&mut *transaction).await?;
    transaction.rollback().await?;
    names.start = end;
    Ok(bytes.cast_unsigned())
}
