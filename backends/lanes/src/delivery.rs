//! An outcome on its way to whoever asked, and what happens when nobody takes it.

use crate::Submission;
use crate::lane::Lane;
use dragon_core::UnixMs;
use dragon_core::batch::Entry;
use dragon_core::decide::Turn;
use dragon_core::request::{Held, Request};
use dragon_core::verdict::Verdict;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The store's time at which it was decided.
    pub now_ms: UnixMs,
    /// The verdict.
    pub verdict: Verdict,
}

/// An outcome that must be taken. If it is dropped instead, because the client hung up, and it took a
/// lock, the lock is released at once, unless the request gave idempotency ids: then the lock is kept
/// for the retry that will ask.
#[derive(Debug)]
pub struct Delivery {
    outcome: Option<Outcome>,
    request: Arc<Request>,
    lane: Weak<Lane>,
}

impl Delivery {
    pub(crate) fn new(outcome: Outcome, request: Arc<Request>, lane: Weak<Lane>) -> Self {
        Self { outcome: Some(outcome), request, lane }
    }

    /// Looks at the verdict without taking it.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.outcome.as_ref().map(|outcome| &outcome.verdict)
    }

    /// The store's time at which it was decided.
    #[must_use]
    pub fn now_ms(&self) -> UnixMs {
        self.outcome.as_ref().map_or(0, |outcome| outcome.now_ms)
    }

    /// Takes the verdict: from here on the lock is the taker's business.
    #[must_use]
    pub fn take(mut self) -> Option<Verdict> {
        self.outcome.take().map(|outcome| outcome.verdict)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(Outcome { verdict: Verdict::Applied(applied), .. }) = self.outcome.take() else { return };
        let (Some(granted), Some(wanted)) = (applied.granted, self.request.wanted()) else { return };
        let (None, Some(lane)) = (self.request.idempotency(), self.lane.upgrade()) else { return };
        let held = Held { cell: wanted.cell.clone(), handle: granted.handle };
        tracing::debug!(lock = ?held.cell, handle = held.handle, "releasing a lock whose client hung up");
        let request = Arc::new(Request::release(self.request.account().clone(), held));
        let (reply, _) = oneshot::channel();
        let submission = Submission { entry: Entry { request, turn: Turn::First }, reply };
        if let Err(error) = lane.push_always(submission) {
            tracing::warn!(%error, "a lock whose client hung up stays held until its lease ends");
        }
    }
}
