//! LMDB: a copy-on-write B+tree in a memory map.

use std::path::Path;

use anyhow::Result;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions};

use crate::engine::Engine;
use crate::work::Batch;

const MAP_BYTES: usize = 1 << 30;

struct Lmdb {
    env: Env,
    cells: Database<'static, Bytes, Bytes>,
}

/// Opens the engine.
pub fn open(folder: &Path) -> Result<Box<dyn Engine>> {
    // SAFETY: the folder is a fresh one of this process, so nothing else changes the mapped file.
    let env = unsafe { EnvOpenOptions::new().map_size(MAP_BYTES).open(folder)? };
    let transaction = env.write_txn()?;
    let cells = env
        .create_databases_and_commit(transaction, |databases, transaction| {
            databases.create_database(transaction, None).map(CommitOrAbort::<_, ()>::Commit)
        })?
        .commit()
        .ok_or_else(|| anyhow::anyhow!("the database was not made"))?;
    Ok(Box::new(Lmdb { env, cells }))
}

impl Engine for Lmdb {
    fn load(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, value) in rows {
            self.cells.put(&mut transaction, key, value)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        batch.run(|key, found| {
            if let Some(value) = self.cells.get(&transaction, key)? {
                found.set(value);
            }
            Ok(())
        })?;
        for (key, value) in batch.changed() {
            self.cells.put(&mut transaction, key, value)?;
        }
        transaction.commit()?;
        Ok(())
    }
}
