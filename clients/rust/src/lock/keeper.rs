//! The task that extends a lock's lease as long as its guard lives.

use super::Lost;
use super::held::Held;
use crate::error::Code;
use crate::retry::jittered;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// Into how many parts a lease falls: it is extended after each, and each try may take one.
const PARTS: u32 = 3;
/// The pause after a try that failed at once: this part of the lease, but not longer than that.
const PAUSE_PART: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whether a lock is held. It is lost once and for all.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) held_until: Instant,
    pub(super) lost: Option<Lost>,
}

impl Standing {
    /// Whether it is held at this moment. It never is again once this was false.
    pub(super) fn is_held(&self) -> bool {
        self.lost.is_none() && Instant::now() < self.held_until
    }

    /// Why it was lost, if it was.
    pub(super) fn lost(&self) -> Option<Lost> {
        if self.is_held() { None } else { Some(self.lost.clone().unwrap_or(Lost::NotExtended(None))) }
    }
}

/// A guard's lock and its standing, shared with the task.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) held: Held,
    pub(super) standing: watch::Sender<Standing>,
}

impl Kept {
    pub(super) fn new(held: Held) -> Self {
        let standing = watch::Sender::new(Standing { held_until: held.until(held.sent), lost: None });
        Self { held, standing }
    }

    /// Notes that the lock is lost, unless it is already. What became of one that was to be given back may be learnt later.
    pub(super) fn lose(&self, lost: Lost) {
        self.standing.send_if_modified(|standing| {
            let settles = matches!(lost, Lost::GivenBack | Lost::NotLocked);
            let is_news = match standing.lost {
                None => true,
                Some(Lost::GivingBack) => settles,
                Some(_) => false,
            };
            if is_news {
                standing.lost = Some(lost);
            }
            is_news
        });
    }

    /// Notes an extension that was sent then. One that comes too late changes nothing: the loss may have been told.
    fn extended(&self, sent: Instant) {
        self.standing.send_if_modified(|standing| {
            let counts = standing.is_held();
            if counts {
                standing.held_until = self.held.until(sent);
            }
            counts
        });
    }
}

/// Extends the lease until the guard is dropped or the lock lost; then gives the lock back, unless that is done.
pub(super) async fn keep(kept: Arc<Kept>, dropped: CancellationToken) {
    if dropped.run_until_cancelled(extend(&kept)).await.is_some() {
        // Told to be lost. It is left to its lease as long as the guard is there: whoever has the guard may still be at it.
        dropped.cancelled().await;
    }
    let lost = kept.standing.borrow().lost.clone();
    if matches!(lost, None | Some(Lost::NotExtended(_) | Lost::GivingBack)) {
        kept.held.give_back().await;
    }
}

/// Extends the lease until the lock is lost.
async fn extend(kept: &Kept) {
    let held = &kept.held;
    let part = held.part(PARTS);
    let (mut next, mut failure) = (held.sent + part, None);
    loop {
        let held_until = kept.standing.borrow().held_until;
        sleep_until(next.min(held_until).into()).await;
        // What was given back meanwhile, or may have been, is not to be extended.
        let standing = kept.standing.borrow().clone();
        if standing.lost.is_some() {
            return;
        }
        if !standing.is_held() {
            tracing::warn!(lock = &*held.id, ?failure, "a lock is lost");
            return kept.lose(Lost::NotExtended(failure));
        }
        let sent = Instant::now();
        let end = standing.held_until.min(sent + part);
        match timeout_at(end.into(), held.extend()).await {
            Ok(Ok(_)) => {
                kept.extended(sent);
                (next, failure) = (sent + part, None);
            }
            Ok(Err(error)) if error.code() == Some(&Code::NotLocked) => {
                tracing::debug!(lock = &*held.id, "a lock is not held any more");
                return kept.lose(Lost::NotLocked);
            }
            Ok(Err(error)) => {
                tracing::debug!(lock = &*held.id, %error, "a lock was not extended; it is tried again");
                failure = Some(Arc::new(error));
                next = Instant::now() + jittered(held.part(PAUSE_PART).min(PAUSE_MAX));
            }
            Err(_elapsed) => next = Instant::now(),
        }
    }
}
