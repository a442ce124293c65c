//! Who waits for which cell to change, within one process.

use dragon_core::cell::Cell;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Those of one cell by their rising numbers, so that who came first is woken first.
type Waiting = HashMap<Cell, BTreeMap<u64, oneshot::Sender<()>>>;

/// Registrations for [`Backend::changed`](crate::Backend::changed). A store registers first, then
/// looks at the row: a change between the two is not lost.
#[derive(Clone, Debug, Default)]
pub struct Wakeups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<(u64, Waiting)>,
    /// The number of registrations, so that a commit nobody waits for takes no lock.
    count: AtomicUsize,
}

/// A registration: resolves on the next [`Wakeups::wake`]; dropping it ends it.
#[derive(Debug)]
pub struct Registration {
    shared: Arc<Shared>,
    cell: Cell,
    id: u64,
    woken: oneshot::Receiver<()>,
}

impl Wakeups {
    /// Registers for the next change of a cell.
    #[must_use]
    pub fn register(&self, cell: &Cell) -> Registration {
        let (sender, woken) = oneshot::channel();
        let mut waiting = self.0.waiting.lock();
        let (next_id, by_cell) = &mut *waiting;
        *next_id += 1;
        let id = *next_id;
        by_cell.entry(cell.clone()).or_default().insert(id, sender);
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Registration { shared: Arc::clone(&self.0), cell: cell.clone(), id, woken }
    }

    /// Wakes whoever waits for one of these cells. Call it once the change can be read.
    pub fn wake<'a>(&self, cells: impl IntoIterator<Item = &'a Cell>) {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiting = self.0.waiting.lock();
        for cell in cells {
            let Some(registrations) = waiting.1.remove(cell) else { continue };
            self.0.count.fetch_sub(registrations.len(), Ordering::SeqCst);
            for sender in registrations.into_values() {
                // A receiver that is gone has stopped waiting.
                sender.send(()).unwrap_or_default();
            }
        }
    }

    /// Wakes everyone: what they wait for may have changed unseen.
    pub fn wake_all(&self) {
        let mut waiting = self.0.waiting.lock();
        waiting.1.clear();
        self.0.count.store(0, Ordering::SeqCst);
    }
}

impl Registration {
    /// Waits for the wake-up.
    pub async fn woken(mut self) {
        // A sender that was dropped means the same: look again.
        (&mut self.woken).await.unwrap_or_default();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        let Some(registrations) = waiting.1.get_mut(&self.cell) else { return };
        if registrations.remove(&self.id).is_some() {
            self.shared.count.fetch_sub(1, Ordering::SeqCst);
        }
        if registrations.is_empty() {
            waiting.1.remove(&self.cell);
        }
    }
}
