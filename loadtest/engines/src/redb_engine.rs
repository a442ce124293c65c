//! redb: a copy-on-write B+tree.

use std::path::Path;

use anyhow::Result;
use redb::{Database, Durability, ReadableTable, TableDefinition};

use crate::CACHE_BYTES;
use crate::engine::Engine;
use crate::work::Batch;

const CELLS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cell");

struct Redb {
    database: Database,
}

/// Opens the engine.
pub fn open(folder: &Path) -> Result<Box<dyn Engine>> {
    let database =
        Database::builder().set_cache_size(usize::try_from(CACHE_BYTES)?).create(folder.join("redb"))?;
    Ok(Box::new(Redb { database }))
}

impl Engine for Redb {
    fn load(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut cells = transaction.open_table(CELLS)?;
            for (key, value) in rows {
                cells.insert(&key[..], &value[..])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut cells = transaction.open_table(CELLS)?;
            batch.run(|key, found| {
                if let Some(value) = cells.get(key)? {
                    found.set(value.value());
                }
                Ok(())
            })?;
            for (key, value) in batch.changed() {
                cells.insert(key, value)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
