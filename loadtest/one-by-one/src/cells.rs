//! The statements, all of them prepared once a connection and by the primary key.

use crate::store::Failure;
use bytes::Bytes;
use dragon_contract::{BackendError, stored_cell};
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use dragon_core::cell::Cell;
use dragon_core::page::{Page, Query};
use sqlx::{PgConnection, Row as _};

/// Rows that are fetched at once for a page.
const PAGE_ROWS: i64 = 1_000;

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some("40001" | "40P01") => Self::Conflict(error.to_string()),
            _ => Self::Other(BackendError::Unavailable(error.to_string())),
        }
    }
}

fn names<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<&'a [u8]> {
    cells.into_iter().map(|cell| cell.as_bytes().as_ref()).collect()
}

/// Reads cells, each into `into`, and the database's clock in the same round trip.
pub async fn read(
    connection: &mut PgConnection,
    cells: &[Cell],
    into: &mut RowMap,
) -> Result<UnixMs, Failure> {
    const READ: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, \
        cell.name, cell.row FROM (VALUES (1)) AS one LEFT JOIN cell ON cell.name = ANY($1)";
    let found = sqlx::query(READ).bind(names(cells)).fetch_all(connection).await?;
    into.extend(cells.iter().map(|cell| (cell.clone(), None)));
    let mut now_ms = 0;
    for row in &found {
        now_ms = now_ms.max(UnixMs::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0));
        if let Some(name) = row.try_get::<Option<Vec<u8>>, _>(1)? {
            into.insert(stored_cell(name)?, Some(row.try_get::<Vec<u8>, _>(2)?.into()));
        }
    }
    Ok(now_ms)
}

/// Writes what a request has decided, in the order of the names, so that two requests that write the same
/// rows wait for each other instead of deadlocking.
pub async fn write(connection: &mut PgConnection, writes: &RowMap) -> Result<(), Failure> {
    const UPSERT: &str = "INSERT INTO cell (name, row) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
        ON CONFLICT (name) DO UPDATE SET row = excluded.row";
    const DELETE: &str = "DELETE FROM cell WHERE name = ANY($1)";
    let mut sorted: Vec<(&Cell, Option<&Bytes>)> =
        writes.iter().map(|(cell, row)| (cell, row.as_ref())).collect();
    sorted.sort_unstable_by_key(|(cell, _)| *cell);
    let (mut kept, mut rows, mut deleted) = (vec![], vec![], vec![]);
    for (cell, row) in sorted {
        match row {
            Some(row) => {
                kept.push(cell);
                rows.push(row.as_ref());
            }
            None => deleted.push(cell),
        }
    }
    if !kept.is_empty() {
        sqlx::query(UPSERT).bind(names(kept)).bind(rows).execute(&mut *connection).await?;
    }
    if !deleted.is_empty() {
        sqlx::query(DELETE).bind(names(deleted)).execute(connection).await?;
    }
    Ok(())
}

/// Reads a page, in a transaction of one moment.
pub async fn scan(connection: &mut PgConnection, query: &Query) -> Result<Page, Failure> {
    const NEXT: &str = "SELECT name, row FROM cell WHERE name >= $1 ORDER BY name LIMIT $2";
    let meta = query.meta();
    let mut read_rows = RowMap::default();
    let now_ms = read(connection, std::slice::from_ref(&meta), &mut read_rows).await?;
    let meta_row = read_rows.remove(&meta).flatten();
    let mut page = Page::begin(query, meta_row.as_ref(), now_ms).map_err(BackendError::from)?;
    let (mut from, stem) = (query.from(), query.stem());
    loop {
        let next = sqlx::query(NEXT).bind(&from).bind(PAGE_ROWS).fetch_all(&mut *connection).await?;
        for row in &next {
            let name: Vec<u8> = row.try_get(0)?;
            if !name.starts_with(&stem) {
                return Ok(page);
            }
            from = [&name[..], &[0]].concat();
            let row: Vec<u8> = row.try_get(1)?;
            if page.push(stored_cell(name)?, row.into()).map_err(BackendError::from)?.is_break() {
                return Ok(page);
            }
        }
        if next.len() < PAGE_ROWS as usize {
            return Ok(page);
        }
    }
}
