//! The database, an SQLite file: how rows lie in it, and the few statements that read and write them. Each
//! stored row ends with a CRC-32 over its name and its bytes, because SQLite has no checksum of its own for
//! pages. What is committed here comes from the log, and leaves it only after.

use bytes::Bytes;
use dragon_contract::{BackendError, Result, stored_cell};
use dragon_core::UnixMs;
use dragon_core::cell::Cell;
use dragon_core::layout;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::time::Duration;

/// The format of the file. Raise it with every change that an older program would misread.
pub(crate) const FORMAT: i64 = 2;
/// The format before: every commit went straight to the database.
pub(crate) const FORMAT_WITHOUT_LOG: i64 = 1;
/// "CDra": says that the file is ours.
pub(crate) const APPLICATION_ID: i64 = 0x4344_7261;
const CRC_BYTES: usize = 4;

/// Pages of SQLite's log (16 MiB) after which they are written to the file, which takes two syncs: the log's
/// own syncs wait for these.
const CHECKPOINT_PAGES: u32 = 4_000;
/// How long a write waits where something else, none of ours, has locked the file.
const BUSY_TIME_MAX: Duration = Duration::from_secs(1);

const CELLS: &str = "
    CREATE TABLE cell (
        name BLOB PRIMARY KEY,     -- account, NUL, kind, id
        row BLOB NOT NULL,         -- the row, then its CRC-32
        sweep_at_ms INTEGER        -- when a sweep may delete it; NULL = never
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cell_by_sweep ON cell (sweep_at_ms) WHERE sweep_at_ms IS NOT NULL;";
const MOVED: &str = "
    CREATE TABLE moved (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        file INTEGER NOT NULL,          -- the last file of the log whose rows are all here
        next_sequence INTEGER NOT NULL, -- of the first record after it
        latest_ms INTEGER NOT NULL,     -- the store's time in the last record that is here
        openings INTEGER NOT NULL,      -- how often the folder was opened
        salt INTEGER NOT NULL           -- by chance: what tells records from bytes that a client chose
    ) STRICT;
    INSERT INTO moved (id, file, next_sequence, latest_ms, openings, salt) VALUES (1, 0, 1, 0, 0, random());";

/// How far the log has been moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The last file of the log whose rows are all here.
    pub(crate) file: u64,
    /// The sequence of the first record after it.
    pub(crate) next_sequence: u64,
    /// The latest time that was stored.
    pub(crate) latest_ms: UnixMs,
}

/// What the database knows of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogState {
    pub(crate) moved: Moved,
    /// Goes into the checksum of all records of this folder.
    pub(crate) salt: u64,
    /// Whether a log was ever begun.
    pub(crate) is_begun: bool,
}

/// A row to write (`None` = delete).
pub(crate) type RowChange<'a> = (&'a Cell, Option<&'a Bytes>);

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
    transaction.execute_batch(CELLS)?;
    transaction.execute_batch(MOVED)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// Opens for writing.
pub(crate) fn open_writer(path: &Path) -> rusqlite::Result<Writer> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.busy_timeout(BUSY_TIME_MAX)?;
    keep_log(&connection)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(Writer(connection))
}

/// Has SQLite leave its log as it is when the last connection goes: a folder that turns out to be damaged
/// is left as it was found, and one that is closed in order has been settled before.
pub(crate) fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Opens for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Reader> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    keep_log(&connection)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(Reader(connection))
}

impl Writer {
    /// Brings a file of [`FORMAT_WITHOUT_LOG`] to the present format.
    pub(crate) fn upgrade(&mut self) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        transaction.execute_batch(MOVED)?;
        transaction.execute("UPDATE moved SET latest_ms = (SELECT latest_ms FROM clock)", [])?;
        transaction.execute_batch("DROP TABLE clock")?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()
    }

    /// What is known of the log.
    pub(crate) fn log_state(&self) -> rusqlite::Result<LogState> {
        let read = |row: &rusqlite::Row<'_>| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let moved = Moved { file: number(0)?, next_sequence: number(1)?, latest_ms: number(2)? };
            Ok(LogState { moved, salt: number(3)?, is_begun: number(4)? > 0 })
        };
        self.0.query_row("SELECT file, next_sequence, latest_ms, salt, openings FROM moved", [], read)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0
    }

    /// Writes rows in one transaction; with the last ones of a file of the log, that it is moved. Only that
    /// is synced, and with it all before: until then the log holds the rows.
    pub(crate) fn write(&mut self, rows: &[RowChange<'_>], moved: Option<Moved>) -> Result<()> {
        let synchronous = if moved.is_some() { "FULL" } else { "NORMAL" };
        self.0.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
        let immediate = rusqlite::TransactionBehavior::Immediate;
        let transaction = self.0.transaction_with_behavior(immediate).map_err(failed)?;
        Self::put_all(&transaction, rows)?;
        if let Some(Moved { file, next_sequence, latest_ms }) = moved {
            let numbers = [file, next_sequence, latest_ms].map(u64::cast_signed);
            transaction
                .prepare_cached("UPDATE moved SET file = ?1, next_sequence = ?2, latest_ms = ?3")
                .and_then(|mut update| update.execute(numbers))
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Counts an opening: with this write SQLite's log comes into being, so that its absence later means loss.
    pub(crate) fn count_opening(&self) -> rusqlite::Result<()> {
        self.0.execute("UPDATE moved SET openings = openings + 1", []).map(drop)
    }

    /// Moves all of SQLite's own log, so that the file needs none.
    pub(crate) fn settle(&self) -> Result<()> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
        let is_blocked = self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], read).map_err(failed)?;
        if is_blocked {
            return Err(BackendError::Unavailable("a reader holds SQLite's log".into()));
        }
        Ok(())
    }

    fn put_all(transaction: &Transaction<'_>, rows: &[RowChange<'_>]) -> Result<()> {
        let mut put = transaction
            .prepare_cached("INSERT OR REPLACE INTO cell (name, row, sweep_at_ms) VALUES (?1, ?2, ?3)")
            .map_err(failed)?;
        let mut delete = transaction.prepare_cached("DELETE FROM cell WHERE name = ?1").map_err(failed)?;
        let mut stored = Vec::new();
        for (cell, row) in rows {
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
        Ok(())
    }
}

impl Reader {
    /// The row of a cell.
    pub(crate) fn row(&self, cell: &Cell) -> Result<Option<Bytes>> {
        let mut select = self.0.prepare_cached("SELECT row FROM cell WHERE name = ?1").map_err(failed)?;
        let found = select.query_row([&cell.as_bytes()[..]], |row| row.get::<_, Vec<u8>>(0));
        found.optional().map_err(failed)?.map(|stored| checked(cell, stored)).transpose()
    }

    /// Bytes of the first rows of these names, names included, and where the others begin. Values are not read for it.
    pub(crate) fn bytes_of_first(&self, names: &Range<Vec<u8>>, rows_max: usize) -> Result<(u64, Vec<u8>)> {
        const SUM: &str = "SELECT count(*), coalesce(sum(length(name) + row_len - ?4), 0), max(name) FROM
            (SELECT name, length(row) AS row_len FROM cell WHERE name >= ?1 AND name < ?2 ORDER BY name LIMIT ?3)";
        let mut select = self.0.prepare_cached(SUM).map_err(failed)?;
        let bounds = params![names.start, names.end, rows_max as i64, CRC_BYTES as i64];
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (rows, bytes, last): (i64, i64, Option<Vec<u8>>) =
            select.query_row(bounds, read).map_err(failed)?;
        let end = match last {
            Some(last) if rows == rows_max as i64 => [last.as_slice(), &[0]].concat(),
            _ => names.end.clone(),
        };
        Ok((bytes.cast_unsigned(), end))
    }

    /// Bytes of one row; 0 = there is none.
    pub(crate) fn bytes_of(&self, cell: &Cell) -> Result<u64> {
        let name = cell.as_bytes();
        let mut select =
            self.0.prepare_cached("SELECT length(row) FROM cell WHERE name = ?1").map_err(failed)?;
        let len = select.query_row([&name[..]], |row| row.get::<_, i64>(0)).optional().map_err(failed)?;
        Ok(len.map_or(0, |len| len.cast_unsigned() + name.len() as u64 - CRC_BYTES as u64))
    }

    /// Runs reads in one transaction: from the first one on, or from [`Self::pin`] on, at one moment.
    pub(crate) fn in_transaction<T>(&mut self, read: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.0.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])).map_err(failed)?;
        let result = read(self);
        let ended = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        result.and_then(|value| ended.map(|_| value).map_err(failed))
    }

    /// Begins a transaction that lasts as long as this reader: what is read in it is of one moment.
    pub(crate) fn begin(&self) -> Result<()> {
        self.0.execute_batch("BEGIN").map_err(failed)
    }

    /// Has the reads of this transaction see the database as it is now.
    pub(crate) fn pin(&self) -> Result<()> {
        let mut look = self.0.prepare_cached("SELECT 1 FROM moved").map_err(failed)?;
        look.query_row([], |_| Ok(())).map_err(failed)
    }

    /// Hands rows to `visit` in the order of their names, beginning with `from`, until it says stop.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        mut visit: impl FnMut(Cell, Bytes) -> Result<ControlFlow<()>>,
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

    /// Hands cells that a sweep may delete at that time to `visit`, in the order of when, from behind `after`
    /// on, until it says stop.
    pub(crate) fn swept(
        &self,
        now_ms: UnixMs,
        after: &(UnixMs, Vec<u8>),
        mut visit: impl FnMut(UnixMs, Cell) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut select = self
            .0
            .prepare_cached(
                "SELECT sweep_at_ms, name FROM cell
                 WHERE sweep_at_ms <= ?1 AND (sweep_at_ms, name) > (?2, ?3) ORDER BY sweep_at_ms, name",
            )
            .map_err(failed)?;
        let bounds = params![now_ms.cast_signed(), after.0.cast_signed(), after.1];
        let mut found = select.query(bounds).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            let sweep_at_ms = row.get::<_, i64>(0).map_err(failed)?.cast_unsigned();
            let cell = stored_cell(row.get::<_, Vec<u8>>(1).map_err(failed)?)?;
            if visit(sweep_at_ms, cell).is_break() {
                break;
            }
        }
        Ok(())
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
