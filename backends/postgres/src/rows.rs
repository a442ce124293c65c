//! The statements that read and write cells. Which rows are written, and what they hold, was decided
//! before.

use crate::failure::Failure;
use bytes::Bytes;
use dragon_contract::{BackendError, stored_cell};
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use dragon_core::cell::Cell;
use dragon_core::layout;
use dragon_core::verdict::Rows;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes at the beginning of a row tell its stamp.
const STAMP_BYTES: i32 = layout::HEADER_BYTES as i32;

/// The database's clock, never going back: it may be another machine's after a failover.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreClock(Arc<AtomicU64>);

impl StoreClock {
    /// Takes in a reading and tells the time.
    pub(crate) fn read(&self, database_ms: i64) -> UnixMs {
        let database_ms = UnixMs::try_from(database_ms).unwrap_or(0);
        self.0.fetch_max(database_ms, Ordering::SeqCst).max(database_ms)
    }
}

/// Rows that were loaded, and the cells that turned out to be needed besides.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) rows: RowMap,
    pub(crate) missing: Vec<Cell>,
}

impl Rows for Known {
    type Error = BackendError;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, BackendError> {
        if let Some(row) = self.rows.get(cell) {
            return Ok(row.clone());
        }
        self.missing.push(cell.clone());
        Ok(None)
    }
}

/// A name and its row, which are the first columns.
pub(crate) fn named_row(row: &PgRow) -> Result<(Cell, Bytes), Failure> {
    Ok((stored_cell(row.try_get::<Vec<u8>, _>(0)?)?, row.try_get::<Vec<u8>, _>(1)?.into()))
}

fn names<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<&'a [u8]> {
    cells.into_iter().map(|cell| cell.as_bytes().as_ref()).collect()
}

/// Reads cells, each into `into`, and the database's clock in the same round trip.
pub(crate) async fn read<'a>(
    connection: &mut PgConnection,
    cells: impl IntoIterator<Item = &'a Cell>,
    into: &mut RowMap,
) -> Result<i64, Failure> {
    const READ: &str = "SELECT cell.name, cell.row, \
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint \
        FROM (VALUES (1)) AS one LEFT JOIN cell ON cell.name = ANY($1)";
    let mut wanted: HashSet<&Cell> = cells.into_iter().collect();
    wanted.retain(|cell| !into.contains_key(*cell));
    let found = sqlx::query(READ).bind(names(wanted.iter().copied())).fetch_all(connection).await?;
    into.extend(wanted.into_iter().map(|cell| (cell.clone(), None)));
    let mut now_ms = 0;
    for row in &found {
        now_ms = now_ms.max(row.try_get(2)?);
        if row.try_get::<Option<&[u8]>, _>(0)?.is_some() {
            let (cell, row) = named_row(row)?;
            into.insert(cell, Some(row));
        }
    }
    Ok(now_ms)
}

/// Reads the stamps of cells that have a row, without the rows.
pub(crate) async fn read_stamps<'a>(
    connection: &mut PgConnection,
    cells: impl IntoIterator<Item = &'a Cell>,
) -> Result<Vec<(Cell, u64)>, Failure> {
    const READ: &str = "SELECT name, substr(cell.row, 1, $2) FROM cell WHERE name = ANY($1)";
    let found = sqlx::query(READ).bind(names(cells)).bind(STAMP_BYTES).fetch_all(connection).await?;
    let stamp = |row: &PgRow| {
        let (cell, row) = named_row(row)?;
        let stamp = layout::stamp(&cell, Some(&row)).map_err(BackendError::from)?;
        Ok((cell, stamp))
    };
    found.iter().map(stamp).collect()
}

/// Writes what a batch has decided. In the order of the names, so that two batches that write the
/// same rows wait for each other instead of deadlocking.
pub(crate) async fn write(connection: &mut PgConnection, writes: &RowMap) -> Result<(), Failure> {
    const DELETE: &str = "DELETE FROM cell WHERE name = ANY($1)";
    const UPSERT: &str = "INSERT INTO cell (name, row, sweep_at_ms) \
        SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) \
        ON CONFLICT (name) DO UPDATE SET row = excluded.row, sweep_at_ms = excluded.sweep_at_ms";
    let mut cells: Vec<(&Cell, Option<&Bytes>)> =
        writes.iter().map(|(cell, row)| (cell, row.as_ref())).collect();
    cells.sort_unstable_by_key(|(cell, _)| *cell);

    let (mut kept, mut rows, mut sweeps_at_ms, mut deleted) = (vec![], vec![], vec![], vec![]);
    for (cell, row) in cells {
        let Some(row) = row else {
            deleted.push(cell);
            continue;
        };
        let sweep_at_ms = layout::sweep_at_ms(cell, row).map_err(BackendError::from)?;
        kept.push(cell);
        rows.push(row.as_ref());
        sweeps_at_ms.push(sweep_at_ms.map(|at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX)));
    }
    if !kept.is_empty() {
        let upsert = sqlx::query(UPSERT).bind(names(kept)).bind(rows).bind(sweeps_at_ms);
        upsert.execute(&mut *connection).await?;
    }
    if !deleted.is_empty() {
        sqlx::query(DELETE).bind(names(deleted)).execute(connection).await?;
    }
    Ok(())
}

/// Deletes rows that are due. A row that is written anew meanwhile is looked at again, and stays.
pub(crate) async fn delete_due(
    connection: &mut PgConnection,
    now_ms: UnixMs,
    limit: usize,
) -> Result<Vec<Cell>, Failure> {
    const DELETE: &str = "DELETE FROM cell WHERE sweep_at_ms <= $1 AND name = ANY(ARRAY( \
        SELECT name FROM cell WHERE sweep_at_ms <= $1 ORDER BY sweep_at_ms LIMIT $2)) RETURNING name";
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let deleted = sqlx::query(DELETE).bind(now_ms).bind(limit).fetch_all(connection).await?;
    deleted.iter().map(|row| Ok(stored_cell(row.try_get::<Vec<u8>, _>(0)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dragon_core::cell::{Account, Kind};
    use dragon_core::layout::{Header, write_value};

    #[test]
    fn the_beginning_of_a_row_tells_its_stamp() {
        let cell = Cell::new(&Account::new("a").unwrap(), Kind::Value, "k");
        let row = write_value(Header { revision: 7, expires_ms: 9 }, b"\"value\"");
        let begun = row.slice(..STAMP_BYTES as usize);
        assert_eq!(layout::stamp(&cell, Some(&begun)), layout::stamp(&cell, Some(&row)));
    }

    #[test]
    fn the_clock_never_goes_back() {
        let clock = StoreClock::default();
        assert_eq!(clock.read(5), 5);
        assert_eq!(clock.read(3), 5);
        assert_eq!(clock.read(-1), 5);
        assert_eq!(clock.read(6), 6);
    }
}
