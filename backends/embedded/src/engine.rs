//! SQLite: how rows lie in the file, and the few statements that read and write them. Each stored row
//! ends with a CRC-32 over its name and its bytes, because SQLite has no checksum of its own for pages.

use bytes::Bytes;
use dragon_contract::{BackendError, Result, stored_cell};
use dragon_core::UnixMs;
use dragon_core::cell::Cell;
use dragon_core::layout;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use std::path::Path;

/// The format of the file. Raise it with every change that an older program would misread.
pub(crate) const FORMAT: i64 = 1;
/// "CDra": says that the file is ours.
pub(crate) const APPLICATION_ID: i64 = 0x4344_7261;
const CRC_BYTES: usize = 4;

const SCHEMA: &str = "
    CREATE TABLE cell (
        name BLOB PRIMARY KEY,     -- account, NUL, kind, id
        row BLOB NOT NULL,         -- the row, then its CRC-32
        sweep_at_ms INTEGER        -- when a sweep may delete it; NULL = never
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cell_by_sweep ON cell (sweep_at_ms) WHERE sweep_at_ms IS NOT NULL;
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        latest_ms INTEGER NOT NULL -- the latest time that was seen, to within a second
    ) STRICT;
    INSERT INTO clock (id, latest_ms) VALUES (1, 0);";

/// The rows of one transaction, and the time to note with it.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) rows: Vec<(&'a Cell, Option<&'a Bytes>)>,
    pub(crate) latest_ms: Option<UnixMs>,
}

/// What the writing thread needs of an engine: so narrow that a test can put failures in between.
pub(crate) trait WriteEngine: Send {
    /// Writes all rows durably, or none.
    fn write(&mut self, change: &Change<'_>) -> std::result::Result<(), WriteError>;

    /// Moves what the log holds to the database file.
    fn checkpoint(&mut self) -> Result<()>;
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct WriteError {
    /// Whether nothing of it can have become durable.
    pub(crate) nothing_applied: bool,
    /// What the engine said.
    pub(crate) message: String,
}

/// A connection that writes. There is one.
#[derive(Debug)]
pub(crate) struct Writer(Connection);

/// A connection that reads what is durable.
#[derive(Debug)]
pub(crate) struct Reader(Connection);

pub(crate) fn failed(error: rusqlite::Error) -> BackendError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => BackendError::Corrupt(error.to_string()),
        _ => BackendError::Unavailable(error.to_string()),
    }
}

/// Makes a new database file with nothing in it, durably.
pub(crate) fn create(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// Opens for writing, without checkpoints of SQLite's own choosing.
pub(crate) fn open_writer(path: &Path) -> rusqlite::Result<Writer> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(Writer(connection))
}

/// Opens for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Reader> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(Reader(connection))
}

impl Writer {
    /// The latest time that was noted.
    pub(crate) fn latest_ms(&self) -> rusqlite::Result<UnixMs> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        self.0.query_row("SELECT latest_ms FROM clock", [], read).map(|ms| u64::try_from(ms).unwrap_or(0))
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0
    }

    fn put_all(transaction: &Transaction<'_>, change: &Change<'_>) -> Result<()> {
        let mut put = transaction
            .prepare_cached("INSERT OR REPLACE INTO cell (name, row, sweep_at_ms) VALUES (?1, ?2, ?3)")
            .map_err(failed)?;
        let mut delete = transaction.prepare_cached("DELETE FROM cell WHERE name = ?1").map_err(failed)?;
        let mut stored = Vec::new();
        for (cell, row) in &change.rows {
            let name = &cell.as_bytes()[..];
            match row {
                None => delete.execute([name]).map_err(failed)?,
                Some(row) => {
                    let sweep_at_ms = layout::sweep_at_ms(cell, row)?.map(u64::cast_signed);
                    stored.clear();
                    stored.extend_from_slice(row);
                    stored.extend_from_slice(&crc(name, row).to_be_bytes());
                    put.execute(params![name, stored, sweep_at_ms]).map_err(failed)?
                }
            };
        }
        if let Some(latest_ms) = change.latest_ms {
            let mut note = transaction.prepare_cached("UPDATE clock SET latest_ms = ?1").map_err(failed)?;
            note.execute([latest_ms.cast_signed()]).map_err(failed)?;
        }
        Ok(())
    }
}

impl WriteEngine for Writer {
    fn write(&mut self, change: &Change<'_>) -> std::result::Result<(), WriteError> {
        let before = |error: BackendError| WriteError { nothing_applied: true, message: error.to_string() };
        let immediate = rusqlite::TransactionBehavior::Immediate;
        let transaction =
            self.0.transaction_with_behavior(immediate).map_err(|error| before(failed(error)))?;
        Self::put_all(&transaction, change).map_err(before)?;
        transaction
            .commit()
            .map_err(|error| WriteError { nothing_applied: false, message: failed(error).to_string() })
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)
    }
}

impl Reader {
    /// The row of a cell.
    pub(crate) fn row(&self, cell: &Cell) -> Result<Option<Bytes>> {
        let mut select = self.0.prepare_cached("SELECT row FROM cell WHERE name = ?1").map_err(failed)?;
        let found = select.query_row([&cell.as_bytes()[..]], |row| row.get::<_, Vec<u8>>(0));
        found.optional().map_err(failed)?.map(|stored| checked(cell, stored)).transpose()
    }

    /// Runs reads at one consistent moment.
    pub(crate) fn at_one_moment<T>(&mut self, read: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.0.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])).map_err(failed)?;
        let result = read(self);
        let ended = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        result.and_then(|value| ended.map(|_| value).map_err(failed))
    }

    /// Hands rows to `visit` in the order of their names, beginning with `from`, until it says stop.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        mut visit: impl FnMut(Cell, Bytes) -> Result<std::ops::ControlFlow<()>>,
    ) -> Result<()> {
        let mut select = self
            .0
            .prepare_cached("SELECT name, row FROM cell WHERE name >= ?1 ORDER BY name")
            .map_err(failed)?;
        let mut found = select.query([from]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            let cell = stored_cell(row.get::<_, Vec<u8>>(0).map_err(failed)?)?;
            let stored = checked(&cell, row.get(1).map_err(failed)?)?;
            if visit(cell, stored)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Cells that a sweep may delete at that time.
    pub(crate) fn swept(&self, now_ms: UnixMs, limit: usize) -> Result<Vec<Cell>> {
        let mut select = self
            .0
            .prepare_cached("SELECT name FROM cell WHERE sweep_at_ms <= ?1 ORDER BY sweep_at_ms LIMIT ?2")
            .map_err(failed)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = select
            .query_map([now_ms.cast_signed(), limit], |row| row.get::<_, Vec<u8>>(0))
            .map_err(failed)?;
        found.map(|name| stored_cell(name.map_err(failed)?)).collect()
    }
}

fn crc(name: &[u8], row: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name);
    hasher.update(row);
    hasher.finalize()
}

/// Takes the checksum off a stored row.
fn checked(cell: &Cell, stored: Vec<u8>) -> Result<Bytes> {
    let mut row = Bytes::from(stored);
    let expected = row.len().checked_sub(CRC_BYTES).map(|at| row.split_off(at));
    if expected.is_some_and(|expected| expected[..] == crc(cell.as_bytes(), &row).to_be_bytes()) {
        Ok(row)
    } else {
        Err(BackendError::Corrupt(format!("the checksum of row {cell:?} is wrong")))
    }
}
