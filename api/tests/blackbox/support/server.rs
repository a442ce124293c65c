//! The server: one process, or several frontends over one store.

use super::{Exit, Frontend, store};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tempfile::TempDir;

/// A running server and its folder. Dropping it kills the server and deletes the folder.
#[derive(Debug)]
pub struct Server {
    frontends: Vec<Frontend>,
    folder: TempDir,
    next: AtomicUsize,
}

impl Server {
    /// Starts a server on a new store.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server on a new store with further environment variables.
    pub fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store::fresh(&folder.path().join("data"));
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", &store].map(str::to_owned);
        Self::start_in(folder, store::frontends(), &arguments, settings)
    }

    /// Starts a server that is told everything by its environment, the store too.
    pub fn start_from_environment(settings: &[(&'static str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 1, &[], settings)
    }

    fn start_in(
        folder: TempDir,
        frontends: usize,
        arguments: &[String],
        settings: &[(&'static str, &str)],
    ) -> Self {
        let start = |_| Frontend::start(folder.path(), arguments, settings);
        Self { frontends: (0..frontends).map(start).collect(), folder, next: AtomicUsize::new(0) }
    }

    /// The address for a new connection: the frontends' in turn.
    pub fn address(&self) -> SocketAddr {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.frontends[turn % self.frontends.len()].address()
    }

    /// Every frontend's address.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.frontends.iter().map(Frontend::address).collect()
    }

    /// The folder that the embedded store keeps its data in.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The most memory that one of its processes has had, in KiB.
    pub fn most_memory_kib(&self) -> u64 {
        self.frontends.iter().map(Frontend::most_memory_kib).max().unwrap_or_default()
    }

    /// Kills all its processes at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.frontends.iter_mut().for_each(Frontend::kill);
    }

    /// Tells the server to go down.
    pub fn terminate(&self) {
        self.frontends.iter().for_each(|frontend| frontend.signal("TERM"));
    }

    /// Waits until all its processes have ended. The code is 0 only if it is every one's.
    pub fn wait_for_exit(&mut self) -> Exit {
        let exits: Vec<Exit> = self.frontends.iter_mut().map(Frontend::wait_for_exit).collect();
        let code = exits.iter().map(|exit| exit.code).find(|code| *code != Some(0)).unwrap_or(Some(0));
        let logs: Vec<String> = exits.into_iter().map(|exit| exit.log).collect();
        Exit { code, log: logs.join("\n\n"), output: String::new() }
    }

    /// Starts the server again on the same store, on new ports. The old processes must have ended.
    pub fn start_again(&mut self) {
        self.frontends.iter_mut().for_each(Frontend::start_again);
    }

    /// Stops the server in order and starts it again.
    pub fn restart(&mut self) {
        self.terminate();
        assert_eq!(self.wait_for_exit().code, Some(0));
        self.start_again();
    }
}

/// The server that most tests share. It lives as long as one of them uses it.
pub fn shared_server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start());
        *shared = Arc::downgrade(&server);
        server
    })
}
