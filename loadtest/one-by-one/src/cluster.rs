//! One request as a transaction of its own on FoundationDB: read, decide, write, commit; and again when others were
//! in the way. A row is one value, so those of more than 100 kB are refused.

use crate::store::{Database, Failure};
use bytes::Bytes;
use dragon_contract::{BackendError, Loaded, RowsRead, RowsReadError, stored_cell};
use dragon_core::UnixMs;
use dragon_core::batch::{Decided, Entry, RowMap, decide_batch};
use dragon_core::cell::Cell;
use dragon_core::page::{Page, Query};
use dragon_core::verdict::Verdict;
use dragon_foundationdb::Address;
use foundationdb::{Database as Client, FdbError, RangeOption, Transaction};
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use std::time::{SystemTime, UNIX_EPOCH};

/// A cluster, and what this store's keys begin with.
pub struct Cluster {
    client: Client,
    prefix: Vec<u8>,
}

/// The time of the one server that there is.
fn now_ms() -> UnixMs {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as UnixMs
}

impl From<FdbError> for Failure {
    fn from(error: FdbError) -> Self {
        if error.is_maybe_committed() {
            Self::Other(BackendError::OutcomeUnknown(error.to_string()))
        } else if error.is_retryable() {
            Self::Conflict(error.to_string())
        } else {
            Self::Other(BackendError::Unavailable(error.to_string()))
        }
    }
}

impl Cluster {
    /// The network must run.
    pub fn new(address: &Address) -> anyhow::Result<Self> {
        let file = address.cluster_file().map(|file| file.to_string_lossy());
        Ok(Self { client: Client::new(file.as_deref())?, prefix: format!("{}/", address.prefix()).into() })
    }

    fn key(&self, name: &[u8]) -> Vec<u8> {
        [&self.prefix, name].concat()
    }

    async fn read_in(&self, transaction: &Transaction, cells: &[Cell]) -> Result<RowMap, Failure> {
        let rows = cells.iter().map(|cell| transaction.get(&self.key(cell.as_bytes()), false));
        let rows = try_join_all(rows).await?;
        let rows = rows.into_iter().map(|row| row.map(|row| Bytes::copy_from_slice(&row)));
        Ok(cells.iter().cloned().zip(rows).collect())
    }
}

#[async_trait::async_trait]
impl Database for Cluster {
    async fn attempt(&self, entry: &Entry) -> Result<(UnixMs, Verdict, Vec<Cell>), Failure> {
        let transaction = self.client.create_trx()?;
        let mut rows = RowsRead::default();
        let mut missing: Vec<Cell> = entry.request.footprint().cloned().collect();
        let now_ms = now_ms();
        let Decided { mut verdicts, writes } = loop {
            rows.0.extend(self.read_in(&transaction, &missing).await?);
            match decide_batch([entry], &mut rows, now_ms) {
                Ok(decided) => break decided,
                // A duplicate's answer may lie beside another id, which only the stored row names.
                Err(RowsReadError::Missing(cell)) => missing = vec![cell],
                Err(error) => return Err(BackendError::from(error).into()),
            }
        };
        for (cell, row) in &writes {
            match row {
                Some(row) => transaction.set(&self.key(cell.as_bytes()), row),
                None => transaction.clear(&self.key(cell.as_bytes())),
            }
        }
        transaction.commit().await.map_err(FdbError::from)?;
        let none = || BackendError::OutcomeUnknown("a request without a verdict".into());
        Ok((now_ms, verdicts.pop().ok_or_else(none)?, writes.into_keys().collect()))
    }

    async fn read(&self, cells: &[Cell]) -> Result<Loaded, Failure> {
        let transaction = self.client.create_trx()?;
        // Without a cell to read, whether the cluster answers.
        transaction.get_read_version().await?;
        let read = self.read_in(&transaction, cells).await?;
        let rows = cells.iter().map(|cell| read.get(cell).cloned().flatten()).collect();
        Ok(Loaded { now_ms: now_ms(), rows })
    }

    async fn scan(&self, query: &Query) -> Result<Page, Failure> {
        let transaction = self.client.create_trx()?;
        let meta = query.meta();
        let meta_row = self.read_in(&transaction, std::slice::from_ref(&meta)).await?.remove(&meta).flatten();
        let mut page = Page::begin(query, meta_row.as_ref(), now_ms()).map_err(BackendError::from)?;
        let (from, mut end) = (self.key(&query.from()), self.key(&query.stem()));
        end.push(u8::MAX);
        let mut stored = transaction.get_ranges_keyvalues(RangeOption::from((from, end)), true);
        while let Some(next) = stored.try_next().await? {
            let cell = stored_cell(Bytes::copy_from_slice(&next.key()[self.prefix.len()..]))?;
            let row = Bytes::copy_from_slice(next.value());
            if page.push(cell, row).map_err(BackendError::from)?.is_break() {
                break;
            }
        }
        Ok(page)
    }
}
