//! Lists of names, page by page, each at one moment.

use crate::failure::Failure;
use crate::rows::{self, Found, StoreClock, Wanted, named_row};
use dragon_contract::{AccountsPage, BackendError, stored_cell};
use dragon_core::cell::{Account, past};
use dragon_core::page::{Page, Query};
use sqlx::{Connection as _, PgConnection};

/// Rows that are fetched at once for a page: not so many that large values fill the memory.
const PAGE_ROWS: i64 = 100;
/// A transaction whose statements all see the same moment.
pub(crate) const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(crate) async fn scan(
    connection: &mut PgConnection,
    query: &Query,
    clock: &StoreClock,
) -> Result<Page, Failure> {
    const NEXT: &str = "SELECT name, content FROM cell WHERE lane = $1 AND name >= $2 AND name < $3 \
        ORDER BY name LIMIT $4";
    let mut transaction = connection.begin_with(ONE_MOMENT).await?;
    let meta = query.meta();
    let mut wanted = Wanted::default();
    wanted.push(&meta, None);
    let read = rows::read(&mut transaction, &wanted, usize::MAX).await?;
    let now_ms = clock.read(read.database_ms);
    let meta_row = read.found.into_iter().next().and_then(Found::row);
    let mut page = Page::begin(query, meta_row.as_ref(), now_ms).map_err(BackendError::from)?;
    let (mut from, end) = (query.from(), query.end());
    'page: loop {
        let next = sqlx::query(NEXT).bind(rows::lane(&meta)).bind(&from).bind(&end).bind(PAGE_ROWS);
        let next = next.fetch_all(&mut *transaction).await?;
        for row in &next {
            let (cell, row) = named_row(row)?;
            from = [cell.as_bytes().as_ref(), &[0]].concat();
            if page.push(cell, row).map_err(BackendError::from)?.is_break() {
                break 'page;
            }
        }
        if next.len() < PAGE_ROWS as usize {
            break;
        }
    }
    transaction.rollback().await?;
    Ok(page)
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
