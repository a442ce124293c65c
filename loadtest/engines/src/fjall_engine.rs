//! fjall: a log-structured merge tree with a journal.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::CACHE_BYTES;
use crate::engine::Engine;
use crate::work::Batch;

struct Fjall {
    database: Database,
    cells: Keyspace,
}

/// Opens the engine.
pub fn open(folder: &Path) -> Result<Box<dyn Engine>> {
    let database = Database::builder(folder).cache_size(CACHE_BYTES).open()?;
    let cells = database.keyspace("cell", KeyspaceCreateOptions::default)?;
    Ok(Box::new(Fjall { database, cells }))
}

impl Engine for Fjall {
    fn load(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        for (key, value) in rows {
            self.cells.insert(&key[..], &value[..])?;
        }
        self.database.persist(PersistMode::SyncAll)?;
        // Not in fjall's documentation, but the one way to get the rows out of memory and into a table.
        self.cells.rotate_memtable_and_wait()?;
        Ok(())
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        batch.run(|key, found| {
            if let Some(value) = self.cells.get(key)? {
                found.set(&value);
            }
            Ok(())
        })?;
        let mut writes = self.database.batch();
        for (key, value) in batch.changed() {
            writes.insert(&self.cells, key, value);
        }
        writes.commit()?;
        self.database.persist(PersistMode::SyncData)?;
        Ok(())
    }
}
