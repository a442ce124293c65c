//! SQLite: a B-tree with a write-ahead log of pages.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};

use crate::CACHE_BYTES;
use crate::engine::Engine;
use crate::work::Batch;

const READ: &str = "SELECT value FROM cell WHERE key = ?1";
const WRITE: &str = "INSERT INTO cell (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

struct Sqlite {
    connection: Connection,
}

/// Opens the engine; it copies the log into the database at 1,000 pages.
pub fn open_1000(folder: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(open(folder, 1_000)?))
}

/// Opens the engine; it copies the log into the database at 8,000 pages.
pub fn open_8000(folder: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(open(folder, 8_000)?))
}

fn open(folder: &Path, checkpoint_pages: u32) -> Result<Sqlite> {
    let connection = Connection::open(folder.join("sqlite"))?;
    connection.pragma_update(None, "page_size", 4096)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -i64::try_from(CACHE_BYTES >> 10)?)?;
    connection.pragma_update(None, "wal_autocheckpoint", checkpoint_pages)?;
    connection
        .execute_batch("CREATE TABLE cell (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")?;
    Ok(Sqlite { connection })
}

impl Sqlite {
    fn write<'a>(&self, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut write = self.connection.prepare_cached(WRITE)?;
        for (key, value) in rows {
            write.execute(params![key, value])?;
        }
        Ok(())
    }
}

impl Engine for Sqlite {
    fn load(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.write(rows.iter().map(|(key, value)| (&key[..], &value[..])))?;
        self.connection.execute_batch("COMMIT")?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut read = self.connection.prepare_cached(READ)?;
        batch.run(|key, found| {
            read.query_row([key], |row| {
                found.set(row.get_ref(0)?.as_blob()?);
                Ok(())
            })
            .optional()?;
            Ok(())
        })?;
        drop(read);
        self.write(batch.changed())?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}
