//! A server of a test's own, and ways to it.

use crate::proxy::Proxy;
use crate::support::{self, Frontend};
use dragon_client::{Account, Client, RetryPolicy};
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

pub const ACCOUNT: &str = "a";

/// A server on an embedded store. Dropping it kills it and deletes the store.
pub struct Place {
    pub server: Frontend,
    _folder: TempDir,
}

impl Place {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", "embedded:data"].map(str::to_owned);
        Self { server: Frontend::start(folder.path(), &arguments, settings), _folder: folder }
    }

    /// The account by way of the client under test.
    pub fn account(&self) -> Account {
        account_at(self.server.address())
    }

    /// The account in raw requests.
    pub fn raw(&self) -> support::Account {
        support::Account::at(&[self.server.address()], ACCOUNT)
    }

    /// A proxy to it, and the account by way of that.
    pub async fn by_proxy(&self) -> (Proxy, Account) {
        let proxy = Proxy::start(self.server.address()).await;
        let account = account_at(proxy.address());
        (proxy, account)
    }

    /// The same, but the client tries again as told.
    pub async fn by_proxy_with(&self, policy: RetryPolicy) -> (Proxy, Account) {
        let proxy = Proxy::start(self.server.address()).await;
        let account = account_with(proxy.address(), policy);
        (proxy, account)
    }

    /// Kills it and starts it again on the same store, on another port.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server.start_again();
    }
}

/// The account by way of a client that comes back soon.
pub fn account_at(address: SocketAddr) -> Account {
    let policy = RetryPolicy::lasting(support::PATIENCE)
        .with_pauses(Duration::from_millis(5), Duration::from_millis(100));
    account_with(address, policy)
}

/// The account by way of a client that tries again as told.
pub fn account_with(address: SocketAddr, policy: RetryPolicy) -> Account {
    let client = Client::builder(&format!("http://{address}")).retry(policy).timeout(support::PATIENCE);
    client.build().unwrap().account(ACCOUNT).unwrap()
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
