//! What the holder of a lock has in hand.

use super::Lost;
use super::held::Held;
use super::keeper::{Kept, keep};
use crate::account::Failed;
use crate::error::Code;
use crate::{Answer, Error, Handle, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep_until;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long it is remembered that a lock was given back: longer than it is tried.
const RELEASE_REMEMBERED: Duration = Duration::from_secs(3_600);

/// A lock that is held, and extended in the background until the guard is dropped.
///
/// Dropping the guard gives the lock back in the background, best effort: when the process or the runtime ends at once,
/// nothing is sent, and the lock is free when its lease ends. [`release`](Self::release) waits until it is done.
///
/// The guard tells when the lock is lost, at [`held_until`](Self::held_until) at the latest, and in time by this process's
/// monotonic clock. On Linux that clock stands still while the machine is suspended, and any process may be stopped for a
/// while between looking at the clock and acting; and a server whose clock is set forward ends a lease before its time. So
/// what matters is written by requests that are [guarded](Self::guard): the server refuses them when the lock is lost. Work
/// elsewhere can carry the [handle](Self::handle), which is higher for each later holder.
///
/// The lease is extended by a task of the runtime: work that keeps the runtime's threads busy for long belongs on
/// `tokio::task::spawn_blocking`.
///
/// ```no_run
/// # use dragon_client::{Account, Error, Request};
/// # async fn example(account: Account) -> Result<(), Error> {
/// let mut guard = account.lock("machine").acquire().await?;
/// let state = account.get("state").await?.json::<u64>()?.unwrap_or_default();
/// // Refused as a whole, were the lock lost.
/// account.transact(guard.guard(Request::new().set("state", &(state + 1))?)?).await?;
/// // The last write, and the lock given back: both or neither.
/// guard.release_with(Request::new().set("state", &(state + 2))?).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct LockGuard {
    kept: Arc<Kept>,
    /// Tells the task that the guard is gone.
    _dropped: DropGuard,
}

impl LockGuard {
    pub(super) fn new(held: Held) -> Self {
        let (kept, dropped) = (Arc::new(Kept::new(held)), CancellationToken::new());
        tokio::spawn(keep(Arc::clone(&kept), dropped.clone()));
        Self { kept, _dropped: dropped.drop_guard() }
    }

    /// Gives back a lock that nobody has got to know of. When the future is dropped, the task does it.
    pub(super) async fn give_back(self) {
        self.kept.held.give_back().await;
        self.kept.lose(Lost::GivenBack);
    }

    /// The lock's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.kept.held.id
    }

    /// The proof of holding the lock, and a fencing token: higher for every later grant in the account.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.kept.held.handle
    }

    /// Whether the holder before let its lease run out, and may have left something half done.
    #[must_use]
    pub fn followed_an_expired_one(&self) -> bool {
        self.kept.held.expired
    }

    /// Until when the lock is held if it can't be extended any more. Each extension moves it.
    #[must_use]
    pub fn held_until(&self) -> Instant {
        self.kept.standing.borrow().held_until
    }

    /// Whether the lock is held at this moment. Once it is not, it never is again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.kept.standing.borrow().is_held()
    }

    /// Waits until the lease is extended next: [`held_until`](Self::held_until) has moved. Dropping the future loses nothing; what
    /// came before it was first polled is not waited for.
    pub async fn extended(&self) {
        let held_until = self.held_until();
        let mut standing = self.kept.standing.subscribe();
        // The sender lives as long as the guard.
        let _moved = standing.wait_for(|standing| standing.held_until != held_until).await;
    }

    /// Waits until the lock is lost, and tells why; at [`held_until`](Self::held_until) at the latest. Dropping the future
    /// loses nothing.
    pub async fn lost(&self) -> Lost {
        let mut standing = self.kept.standing.subscribe();
        loop {
            // Judged while it can't change: what is told here must stay true.
            let (lost, held_until) = {
                let seen = standing.borrow_and_update();
                (seen.lost(), seen.held_until)
            };
            if let Some(lost) = lost {
                return lost;
            }
            // By itself, whatever becomes of the task that extends the lease.
            tokio::select! {
                _ = standing.changed() => {}
                () = sleep_until(held_until.into()) => {}
            }
        }
    }

    /// The request, to be refused as a whole with [`Code::NotLocked`] unless the lock is still held.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it names a lock itself.
    pub fn guard(&self, request: Request) -> Result<Request, Error> {
        without_lock(&request)?;
        Ok(request.only_if_locked(self.id(), self.handle()))
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::NotLocked`] when the lock was not held any more.
    pub async fn release(mut self) -> Result<(), Error> {
        self.release_with(Request::new()).await.map(drop)
    }

    /// Gives the lock back and applies the request, both or neither. It happens once: it is sent as by
    /// [`transact_once`](crate::Account::transact_once). Where that fails and nothing was applied, the guard goes on holding
    /// the lock if it can.
    ///
    /// Where it fails in a way that leaves open whether it was applied, or its future is dropped before it is done, the lock
    /// counts as lost from then on ([`Lost::GivingBack`]): the next holder may be at work. It may be called again, and what
    /// became of the first call is told where the request has the same idempotency id of one's own. When the guard is
    /// dropped the lock is given back, if it was not.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::NotLocked`] when the lock was not held any more.
    pub async fn release_with(&mut self, request: Request) -> Result<Answer, Error> {
        without_lock(&request)?;
        if let Some(lost @ Lost::GivenBack) = &self.kept.standing.borrow().lost {
            return Err(lost.clone().into());
        }
        let request = match request.has_idempotency_id() {
            true => request,
            false => request.idempotency_id(crate::account::new_id()).idempotency_ttl(RELEASE_REMEMBERED),
        };
        let request = request.unlock(self.id(), self.handle());
        let doubt = Doubt(Some(&self.kept));
        let outcome = self.kept.held.account.once(request).await;
        match &outcome {
            // One that is not kept was given all the same.
            Ok(_) | Err(Failed { error: Error::AnswerNotKept { .. }, .. }) => self.kept.lose(Lost::GivenBack),
            Err(failed) if failed.error.code() == Some(&Code::NotLocked) => self.kept.lose(Lost::NotLocked),
            Err(failed) if failed.has_changed_nothing() => doubt.settle(),
            Err(_) => {}
        }
        outcome.map_err(|failed| failed.error)
    }
}

/// The time in which the lock may have been given back without anyone knowing. When it ends so, for whatever reason, the
/// lock counts as lost.
struct Doubt<'a>(Option<&'a Kept>);

impl Doubt<'_> {
    /// The lock was not given back.
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(kept) = self.0 {
            kept.lose(Lost::GivingBack);
        }
    }
}

fn without_lock(request: &Request) -> Result<(), Error> {
    if request.names_a_lock() {
        return Err(Error::Invalid("the request names a lock itself".to_owned()));
    }
    Ok(())
}
