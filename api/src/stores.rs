//! The stores that the settings name, and how each is opened.

use crate::config::{Store, StoreSettings};
use crate::metrics::Metrics;
use crate::serve::{ServeError, Served};
use dragon_embedded::{EmbeddedStore, LogBounds};
#[cfg(feature = "foundationdb")]
use dragon_foundationdb::{FoundationDbMetrics, FoundationDbStore, Network};
use dragon_memory::MemoryStore;
use dragon_postgres::{Address, PostgresMetrics, PostgresStore};
use futures_util::FutureExt as _;
use std::sync::Arc;

/// What stores hold of the process. It must outlive them, and the runtime.
#[derive(Debug)]
pub(crate) struct Stores {
    #[cfg(feature = "foundationdb")]
    network: Option<Network>,
}

impl Stores {
    #[cfg(feature = "foundationdb")]
    pub(crate) fn prepare(store: &Store) -> Result<Self, ServeError> {
        let network = matches!(store, Store::FoundationDb(_)).then(Network::start);
        Ok(Self { network: network.transpose().map_err(|error| ServeError::Other(error.into()))? })
    }

    #[cfg(not(feature = "foundationdb"))]
    pub(crate) fn prepare(_store: &Store) -> Result<Self, ServeError> {
        Ok(Self {})
    }

    /// Opens the store, or begins to. Call it in a runtime.
    pub(crate) fn open(&self, settings: &StoreSettings, metrics: &mut Metrics) -> Result<Served, ServeError> {
        Ok(match &settings.store {
            Store::Embedded(folder) => {
                let bounds = LogBounds::of_files(settings.log_file_bytes);
                Arc::new(EmbeddedStore::open(folder, bounds, metrics.embedded.clone())?).into()
            }
            Store::Postgres(address) => open_postgres(address, settings, metrics)?,
            #[cfg(feature = "foundationdb")]
            Store::FoundationDb(address) => self.open_foundationdb(address, metrics)?,
            Store::Memory => {
                tracing::warn!("the store is memory: nothing outlives this process");
                Arc::new(MemoryStore::default()).into()
            }
        })
    }

    /// As with a database, the cluster may be away for a while.
    #[cfg(feature = "foundationdb")]
    fn open_foundationdb(
        &self,
        address: &dragon_foundationdb::Address,
        metrics: &mut Metrics,
    ) -> Result<Served, ServeError> {
        tracing::info!("the store is {address}");
        let Some(network) = &self.network else {
            return Err(ServeError::Other("the client of FoundationDB was not started".into()));
        };
        let its_metrics = FoundationDbMetrics::default();
        its_metrics.register(metrics.registry());
        let store = FoundationDbStore::open(network, address, its_metrics);
        let store = store.map_err(|error| ServeError::Other(error.into()))?;
        let opening = store.clone();
        let failure = async move {
            match opening.opened().await {
                Ok(()) => tracing::info!("the cluster is ready"),
                Err(error) => return ServeError::Other(error.into()),
            }
            drop(opening);
            std::future::pending().await
        };
        Ok(Served { backend: Arc::new(store), failure: failure.boxed() })
    }
}

/// The database may be away for a while: until it is there requests are told so, and so is who asks whether
/// the server is ready.
fn open_postgres(
    address: &Address,
    settings: &StoreSettings,
    metrics: &mut Metrics,
) -> Result<Served, ServeError> {
    let options = settings.postgres.options(address)?;
    tracing::info!("the store is {address}");
    let its_metrics = PostgresMetrics::default();
    its_metrics.register(metrics.registry());
    let store = PostgresStore::open(&options, its_metrics);
    let opening = store.clone();
    let failure = async move {
        match opening.opened().await {
            Ok(()) => tracing::info!("the database is ready"),
            Err(error) => return error.into(),
        }
        drop(opening);
        std::future::pending().await
    };
    Ok(Served { backend: Arc::new(store), failure: failure.boxed() })
}
