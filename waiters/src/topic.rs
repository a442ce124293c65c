//! Everyone who watches one key. Newcomers are settled by the first read that begins after they
//! arrived; whom it shows nothing new is parked until a later read shows another version.

use bytes::Bytes;
use dragon_contract::BackendError;
use dragon_core::observe::Observed;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// What a watcher is woken with: the answer's JSON.
pub(crate) type Woken = Result<Bytes, BackendError>;

#[derive(Debug)]
struct Watcher {
    seen: u64,
    wake: oneshot::Sender<Woken>,
}

#[derive(Debug, Default)]
struct Crowd {
    next_number: u64,
    /// By their rising numbers, so that who came first is woken first.
    newcomers: BTreeMap<u64, Watcher>,
    parked: BTreeMap<u64, Watcher>,
}

/// The watchers of one key.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    crowd: Mutex<Crowd>,
    /// Someone arrived, or the last one left.
    pub(crate) stirred: Notify,
}

/// One watcher's presence; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Presence {
    topic: Arc<Topic>,
    number: u64,
    pub(crate) woken: oneshot::Receiver<Woken>,
}

impl Topic {
    /// Joins as a newcomer.
    pub(crate) fn join(self: &Arc<Self>, seen: u64) -> Presence {
        let (wake, woken) = oneshot::channel();
        let mut crowd = self.crowd.lock();
        crowd.next_number += 1;
        let number = crowd.next_number;
        crowd.newcomers.insert(number, Watcher { seen, wake });
        self.stirred.notify_one();
        Presence { topic: Arc::clone(self), number, woken }
    }

    /// Whether nobody watches any more.
    pub(crate) fn is_deserted(&self) -> bool {
        let crowd = self.crowd.lock();
        crowd.newcomers.is_empty() && crowd.parked.is_empty()
    }

    /// Those who have arrived by now; call it before the read that is to settle them.
    pub(crate) fn arrived(&self) -> Arrived {
        Arrived(std::mem::take(&mut self.crowd.lock().newcomers))
    }

    /// Wakes everyone whose version is not the one that was read, and parks the others.
    pub(crate) fn settle(&self, arrived: Arrived, observed: &Observed) {
        let is_news = |_: &u64, watcher: &mut Watcher| watcher.seen != observed.version;
        let mut crowd = self.crowd.lock();
        // Whoever left during the read has closed its channel before it looked for itself here.
        crowd.parked.extend(arrived.0.into_iter().filter(|(_, watcher)| !watcher.wake.is_closed()));
        let woken: Vec<Watcher> = crowd.parked.extract_if(.., is_news).map(|(_, watcher)| watcher).collect();
        drop(crowd);
        for watcher in woken {
            watcher.wake.send(Ok(observed.answer.clone())).unwrap_or_default();
        }
    }

    /// Tells all who are parked that their key can't be watched.
    pub(crate) fn refuse(&self, error: &BackendError) {
        let parked = std::mem::take(&mut self.crowd.lock().parked);
        Arrived(parked).fail(error);
    }
}

/// Newcomers that a read is under way for.
#[derive(Debug)]
pub(crate) struct Arrived(BTreeMap<u64, Watcher>);

impl Arrived {
    /// Tells them that the read failed.
    pub(crate) fn fail(self, error: &BackendError) {
        for watcher in self.0.into_values() {
            watcher.wake.send(Err(error.clone())).unwrap_or_default();
        }
    }
}

impl Presence {
    /// Whether a read that began after it arrived has shown it nothing new.
    pub(crate) fn was_settled(&self) -> bool {
        self.topic.crowd.lock().parked.contains_key(&self.number)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.woken.close();
        let mut crowd = self.topic.crowd.lock();
        crowd.newcomers.remove(&self.number);
        crowd.parked.remove(&self.number);
        if crowd.newcomers.is_empty() && crowd.parked.is_empty() {
            self.topic.stirred.notify_one();
        }
    }
}
