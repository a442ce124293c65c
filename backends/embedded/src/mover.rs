//! The thread that moves completed files of the log into the database, beside the commits: each row as the
//! file's last record left it, in the order of names, so that neighbours share a page and a hot row is
//! written once however often it changed.

use crate::database::{Moved, RowChange, Writer};
use crate::durable::Durable;
use crate::layers::Layer;
use crate::log;
use crate::metrics::EmbeddedMetrics;
use crate::progress::Progress;
use dragon_contract::{BackendError, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rows in one transaction: each may change a page of its own, which goes through SQLite's log.
pub(crate) const TRANSACTION_ROWS: usize = 8_000;
/// After so many failures the store stops: it could not go on for long, and its operator must know.
const TRIES_MAX: u32 = 20;
/// How long to wait after a move failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// A layer to move, and what is moved then.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) layer: Arc<Layer>,
    pub(crate) moved: Moved,
}

/// The mover, as the writing thread sees it.
#[derive(Debug)]
pub(crate) struct Mover {
    orders: Sender<Order>,
    /// Whether an order was carried out.
    done: Receiver<bool>,
    is_busy: bool,
    has_failed: bool,
}

impl Mover {
    pub(crate) fn start(
        database: Writer,
        durable: Durable,
        progress: Arc<Progress>,
        metrics: EmbeddedMetrics,
        folder: PathBuf,
    ) -> std::io::Result<(Self, JoinHandle<Writer>)> {
        let (orders, told) = channel();
        let (finished, done) = channel();
        let mut work = Work { database, durable, progress, metrics, folder };
        let thread = std::thread::Builder::new().name("dragon-move".into()).spawn(move || {
            while let Ok(order) = told.recv() {
                if finished.send(work.carry_out(&order)).is_err() {
                    break;
                }
            }
            work.database
        })?;
        Ok((Self { orders, done, is_busy: false, has_failed: false }, thread))
    }

    /// Whether a layer is being moved.
    pub(crate) fn is_busy(&mut self) -> bool {
        match self.done.try_recv() {
            Ok(is_moved) => self.ended(is_moved),
            Err(TryRecvError::Disconnected) => self.ended(false),
            Err(TryRecvError::Empty) => {}
        }
        self.is_busy
    }

    /// Waits until no layer is being moved. `false` when one could not be: then none may be any more,
    /// since files are moved in their order.
    pub(crate) fn wait(&mut self) -> bool {
        if self.is_busy {
            // A thread that is gone moves nothing any more.
            let is_moved = self.done.recv().unwrap_or(false);
            self.ended(is_moved);
        }
        !self.has_failed
    }

    fn ended(&mut self, is_moved: bool) {
        self.is_busy = false;
        self.has_failed |= !is_moved;
    }

    pub(crate) fn begin(&mut self, order: Order) {
        self.is_busy = true;
        if self.orders.send(order).is_err() {
            self.ended(false);
        }
    }
}

struct Work {
    database: Writer,
    durable: Durable,
    progress: Arc<Progress>,
    metrics: EmbeddedMetrics,
    folder: PathBuf,
}

impl Work {
    /// Moves a layer, and tries again for some time: the log and the layer hold the rows meanwhile. Returns
    /// whether it was moved.
    fn carry_out(&mut self, order: &Order) -> bool {
        let begun = Instant::now();
        let rows = order.layer.in_order();
        let mut tries = 0;
        while let Err(error) = move_rows(&mut self.database, &rows, order.moved) {
            tries += 1;
            tracing::warn!(%error, tries, "moving the log into the database failed; the log grows meanwhile");
            if matches!(error, BackendError::Corrupt(_)) || tries == TRIES_MAX {
                self.progress.stop(&format!("the log can't be moved into the database: {error}"));
            }
            if self.progress.stopped.get().is_some() || self.progress.closing.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(PAUSE_AFTER_FAILURE);
        }
        self.durable.0.lock().moved();
        self.metrics.move_seconds.observe(begun.elapsed().as_secs_f64());
        let file = log::file_of(&self.folder, order.moved.file);
        if let Err(error) = std::fs::rename(file, log::spare(&self.folder)) {
            tracing::warn!(%error, "a file of the log could not be put aside; the next start removes it");
        }
        true
    }
}

/// Moves rows, in transactions of bounded size: until the last one the database has some of them, which
/// the log, and the layer over it, hide.
pub(crate) fn move_rows(database: &mut Writer, rows: &[RowChange<'_>], moved: Moved) -> Result<()> {
    let (before, last) = rows.split_at(rows.len().saturating_sub(1) / TRANSACTION_ROWS * TRANSACTION_ROWS);
    before.chunks(TRANSACTION_ROWS).try_for_each(|rows| database.write(rows, None))?;
    database.write(last, Some(moved))
}
