//! The statements that read and write cells. Which rows are written, and what they hold, was decided
//! before.

use crate::failure::Failure;
use crate::schema::LANES;
use bytes::Bytes;
use dragon_contract::{BackendError, lane_of, stored_cell};
use dragon_core::UnixMs;
use dragon_core::batch::RowMap;
use dragon_core::cell::Cell;
use dragon_core::layout;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes at the beginning of a row tell its stamp.
pub(crate) const STAMP_BYTES: i32 = layout::HEADER_BYTES as i32;

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

/// The number of a cell's lane.
pub(crate) fn lane(cell: &Cell) -> i16 {
    lane_of(cell.account_name(), LANES) as i16
}

/// Cells to read, in order, and of each row at most so many bytes.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    lanes: Vec<i16>,
    names: Vec<&'a [u8]>,
    lengths: Vec<i32>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn push(&mut self, cell: &'a Cell, bytes_max: Option<i32>) {
        self.lanes.push(lane(cell));
        self.names.push(cell.as_bytes());
        self.lengths.push(bytes_max.unwrap_or(i32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// The name of an advisory lock that is taken before a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneLock {
    pub(crate) class: i32,
    pub(crate) number: i32,
}

/// One row that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// As much of it as was asked for; `None` = there is no such row.
    Row(Option<Bytes>),
    /// It is there, but too much was read before it.
    NotRead,
}

impl Found {
    /// The row, as far as it is there and was read.
    pub(crate) fn row(self) -> Option<Bytes> {
        match self {
            Self::Row(row) => row,
            Self::NotRead => None,
        }
    }
}

/// What was read, at one moment.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) database_ms: i64,
    pub(crate) is_locked: bool,
    /// One for each that was wanted, in order.
    pub(crate) found: Vec<Found>,
}

/// Reads cells and the database's clock in one round trip.
pub(crate) async fn read(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
    bytes_max: usize,
    lock: Option<LaneLock>,
) -> Result<Read, Failure> {
    const READ: &str = "SELECT place, content, now_ms, is_locked FROM read_cells($1, $2, $3, $4, $5, $6)";
    let query = sqlx::query(READ)
        .bind(&wanted.lanes)
        .bind(&wanted.names)
        .bind(&wanted.lengths)
        .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
        .bind(lock.map(|lock| lock.class))
        .bind(lock.map(|lock| lock.number));
    let mut read = Read { database_ms: 0, is_locked: false, found: vec![Found::Row(None); wanted.len()] };
    for row in query.fetch_all(connection).await? {
        let place: i64 = row.try_get(0)?;
        match usize::try_from(place - 1).ok().and_then(|place| read.found.get_mut(place)) {
            None => (read.database_ms, read.is_locked) = (row.try_get(2)?, row.try_get(3)?),
            Some(found) => {
                let content: Option<&[u8]> = row.try_get(1)?;
                *found =
                    content.map_or(Found::NotRead, |bytes| Found::Row(Some(Bytes::copy_from_slice(bytes))));
            }
        }
    }
    Ok(read)
}

/// What a batch writes, as the columns of a statement.
#[derive(Debug, Default)]
pub(crate) struct Written<'a> {
    pub(crate) kept: Vec<&'a [u8]>,
    pub(crate) contents: Vec<&'a [u8]>,
    pub(crate) sweeps_at_ms: Vec<Option<i64>>,
    pub(crate) deleted: Vec<&'a [u8]>,
}

impl<'a> Written<'a> {
    /// In the order of the names, so that two batches that write the same rows wait for each other
    /// instead of deadlocking.
    pub(crate) fn new(writes: &'a RowMap) -> Result<Self, BackendError> {
        let mut cells: Vec<(&Cell, Option<&Bytes>)> =
            writes.iter().map(|(cell, row)| (cell, row.as_ref())).collect();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        let mut written = Self::default();
        for (cell, row) in cells {
            let Some(row) = row else {
                written.deleted.push(cell.as_bytes());
                continue;
            };
            let sweep_at_ms = layout::sweep_at_ms(cell, row)?;
            written.kept.push(cell.as_bytes());
            written.contents.push(row);
            written.sweeps_at_ms.push(sweep_at_ms.map(|at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX)));
        }
        Ok(written)
    }
}

/// A name and its row, which are the first columns.
pub(crate) fn named_row(row: &PgRow) -> Result<(Cell, Bytes), Failure> {
    Ok((stored_cell(row.try_get::<Vec<u8>, _>(0)?)?, row.try_get::<Vec<u8>, _>(1)?.into()))
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
