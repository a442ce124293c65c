//! Where a frontend runs: it may die and come back.

use crate::store::{Handle, Store};
use dragon_lanes::LaneMetrics;
use dragon_waiters::{Frontend, WaiterMetrics};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// One frontend and its successors.
#[derive(Debug)]
pub struct Site {
    store: Arc<Store>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    process: Option<Process>,
    incarnation: u64,
}

#[derive(Debug)]
struct Process {
    frontend: Frontend,
    handle: Arc<Handle>,
    death: Arc<Death>,
}

/// Tells connections that their process is dead, those first that were made first. (A `watch` channel tells them in
/// an order that is different each time.)
#[derive(Debug, Default)]
struct Death {
    has_come: AtomicBool,
    bell: Notify,
}

/// A connection to a frontend.
#[derive(Debug)]
pub struct Connection {
    /// The frontend.
    pub frontend: Frontend,
    death: Arc<Death>,
}

impl Connection {
    /// Waits until the process at its other end is dead.
    pub async fn broken(&self) {
        // In line before it is looked: a bell in between is heard.
        let bell = self.death.bell.notified();
        if !self.death.has_come.load(Ordering::SeqCst) {
            bell.await;
        }
    }
}

impl Site {
    /// A place where nothing runs yet.
    #[must_use]
    pub fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store), running: Mutex::default() }
    }

    /// How often the frontend here has gone.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.running.lock().incarnation
    }

    /// A connection, if something runs.
    #[must_use]
    pub fn connect(&self) -> Option<Connection> {
        let running = self.running.lock();
        let process = running.process.as_ref()?;
        Some(Connection { frontend: process.frontend.clone(), death: Arc::clone(&process.death) })
    }

    /// The frontend's own way to the store, if something runs.
    #[must_use]
    pub fn handle(&self) -> Option<Arc<Handle>> {
        self.running.lock().process.as_ref().map(|process| Arc::clone(&process.handle))
    }

    /// Starts a frontend, unless one runs.
    pub fn start(&self) {
        let mut running = self.running.lock();
        if running.process.is_none() {
            let handle = Arc::new(Handle::new(&self.store));
            let backend = Arc::clone(&handle) as _;
            let frontend = Frontend::start(backend, LaneMetrics::default(), WaiterMetrics::default());
            running.process = Some(Process { frontend, handle, death: Arc::default() });
        }
    }

    /// Kills what runs. Its connections break.
    pub fn kill(&self) {
        let process = {
            let mut running = self.running.lock();
            running.incarnation += u64::from(running.process.is_some());
            running.process.take()
        };
        if let Some(process) = process {
            process.handle.kill();
            process.death.has_come.store(true, Ordering::SeqCst);
            process.death.bell.notify_waiters();
        }
    }

    /// Tells what runs to go down: what waits is sent away.
    pub fn drain(&self) {
        if let Some(connection) = self.connect() {
            connection.frontend.drain();
        }
    }
}
