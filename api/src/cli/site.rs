//! Where accounts are: in a store that this process opens, or at a server.

use super::files::Pieces;
use super::remote::Remote;
use super::{CliError, SiteArguments};
use crate::metrics::Metrics;
use crate::serve::{ServeError, Served};
use crate::stores::Stores;
use dragon_contract::AccountsPage;
use dragon_core::cell::Account;
use dragon_core::limits::LIST_ENTRIES_MAX;
use dragon_transfer::{Imported, Mode};
use dragon_waiters::Frontend;
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How often to look whether a database has been reached.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) enum Site {
    Store(Frontend),
    Server(Remote),
}

/// Does something on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    runtime()?.block_on(work)
}

fn runtime() -> Result<Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| CliError::new("can't start", error))
}

/// Does something there, on a runtime of its own.
pub(super) fn on(
    arguments: &SiteArguments,
    work: impl AsyncFnOnce(Site) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let runtime = runtime()?;
    if let Some(server) = &arguments.server {
        return runtime
            .block_on(async { work(Site::Server(Remote::new(server, arguments.token.as_deref())?)).await });
    }
    let failed = |error: ServeError| CliError(error.to_string());
    // What the stores hold of the process must end after the runtime.
    let stores = Stores::prepare(&arguments.store.store).map_err(failed)?;
    let done = runtime.block_on(async {
        let Served { backend, failure } =
            stores.open(&arguments.store, &mut Metrics::new()).map_err(failed)?;
        let frontend = Frontend::start(Arc::clone(&backend), Default::default(), Default::default());
        let working = async {
            while let Err(error) = frontend.ready().await {
                tracing::debug!(%error, "the store is not ready yet");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            work(Site::Store(frontend.clone())).await
        };
        let done = tokio::select! {
            done = working => done,
            error = failure => Err(failed(error)),
        };
        backend.close().await;
        done
    });
    drop(runtime);
    done
}

impl Site {
    pub(super) async fn accounts(&self, after: Option<&Account>) -> Result<AccountsPage, CliError> {
        match self {
            Self::Store(frontend) => {
                let page = frontend.accounts(after, LIST_ENTRIES_MAX).await;
                page.map_err(|error| CliError::new("listing the accounts", error))
            }
            Self::Server(server) => server.accounts(after).await,
        }
    }

    pub(super) async fn export(&self, account: &Account) -> Result<Pieces, CliError> {
        match self {
            Self::Store(frontend) => {
                let name = account.clone();
                let exported = dragon_transfer::export(frontend, account).await;
                let pieces = exported.map_err(|error| CliError::new(account, error))?;
                Ok(pieces.map(move |piece| piece.map_err(|error| CliError::new(&name, error))).boxed())
            }
            Self::Server(server) => server.export(account).await,
        }
    }

    pub(super) async fn import(
        &self,
        account: &Account,
        mode: Mode,
        pieces: Pieces,
    ) -> Result<Imported, CliError> {
        match self {
            Self::Store(frontend) => {
                // One that was interrupted, as by the same command a moment ago, is no obstacle.
                let waited = dragon_transfer::wait_for_import(frontend, account).await;
                waited.map_err(|error| CliError::new(account, error))?;
                let imported = dragon_transfer::import(frontend, account, mode, pieces).await;
                imported.map_err(|error| CliError::new(account, error))
            }
            Self::Server(server) => server.import(account, mode, pieces).await,
        }
    }
}
