//! The statements that read and write cells. Which rows are written, and what they hold, was decided
//! before.

use crate::failure::Failure;
use crate::lane_lock::{LaneLock, Taken};
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

/// One lane, and the statements for its tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    pub(crate) number: i16,
    read: &'static str,
    pub(crate) commit: &'static str,
}

/// Statements of lanes: there is a function for each.
macro_rules! lanes {
    ($($number:literal),*) => {
        [$(Lane {
            number: $number,
            read: concat!(
                "SELECT place, content, now_ms, is_locked, has_waited FROM read_lane_",
                $number,
                "($1, $2, $3, $4)"
            ),
            commit: concat!(
                "CALL commit_batch_",
                $number,
                "(NULL::integer, $1, $2, $3, $4, $5, $6, $7, $8, $9::uuid, $10, $11)"
            ),
        }),*]
    };
}

impl Lane {
    pub(crate) const ALL: [Self; LANES] = lanes!(0, 1, 2, 3);
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

/// One row that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// As much of it as was asked for; `None` = there is no such row.
    Row(Option<Bytes>),
    /// It is there, but too much was read before it.
    NotRead,
}

impl Found {
    /// The row, if it was read.
    pub(crate) fn known(self) -> Option<Option<Bytes>> {
        match self {
            Self::Row(row) => Some(row),
            Self::NotRead => None,
        }
    }

    /// The row, as far as it is there and was read.
    pub(crate) fn row(self) -> Option<Bytes> {
        self.known().flatten()
    }
}

/// What was read, at one moment.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) database_ms: i64,
    /// One for each that was wanted, in order.
    pub(crate) found: Vec<Found>,
}

/// Reads cells and the database's clock in one round trip.
pub(crate) async fn read(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
    bytes_max: usize,
) -> Result<Read, Failure> {
    const READ: &str = "SELECT place, content, now_ms FROM read_cells($1, $2, $3, $4)";
    let query = sqlx::query(READ)
        .bind(&wanted.lanes)
        .bind(&wanted.names)
        .bind(&wanted.lengths)
        .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX));
    let mut read = Read { database_ms: 0, found: vec![Found::Row(None); wanted.len()] };
    for row in query.fetch_all(connection).await? {
        if !read.take_in(&row)? {
            read.database_ms = row.try_get(2)?;
        }
    }
    Ok(read)
}

/// Reads cells of one lane, after taking its lock, if one is given.
pub(crate) async fn read_lane(
    connection: &mut PgConnection,
    lane: Lane,
    cells: &[Cell],
    bytes_max: usize,
    lock: Option<LaneLock>,
) -> Result<(Read, Taken), Failure> {
    let names: Vec<&[u8]> = cells.iter().map(|cell| cell.as_bytes().as_ref()).collect();
    let query = sqlx::query(lane.read)
        .bind(names)
        .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
        .bind(lock.map(|lock| lock.class))
        .bind(lock.map(|lock| lock.number));
    let mut read = Read { database_ms: 0, found: vec![Found::Row(None); cells.len()] };
    let mut taken = Taken::default();
    for row in query.fetch_all(connection).await? {
        if !read.take_in(&row)? {
            read.database_ms = row.try_get(2)?;
            taken = Taken { is_locked: row.try_get(3)?, has_waited: row.try_get(4)? };
        }
    }
    Ok((read, taken))
}

impl Read {
    /// Takes in what begins with a place and a content. `false`: it is the row before all others.
    fn take_in(&mut self, row: &PgRow) -> Result<bool, Failure> {
        let place: i64 = row.try_get(0)?;
        let Some(found) = usize::try_from(place - 1).ok().and_then(|place| self.found.get_mut(place)) else {
            return Ok(false);
        };
        let content: Option<&[u8]> = row.try_get(1)?;
        *found = content.map_or(Found::NotRead, |bytes| Found::Row(Some(Bytes::copy_from_slice(bytes))));
        Ok(true)
    }
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
