//! Locks that are held by a guard.
//!
//! What makes a guard's word safe: a lease of `LockDur` begins when the server applies the request, which is after it was
//! sent. So until `LockDur` after the moment *before* the request was sent, by this process's own clock, nobody else has
//! the lock. No two clocks are compared; only their rates matter, for which a margin is taken off.

mod acquiring;
mod guard;
mod held;
mod keeper;

pub use guard::LockGuard;

use crate::{Account, Error};
use acquiring::{Acquiring, Asked};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(30);

/// Why a lock is not held any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server says so: the lease has run out, or someone else gave the lock back with its handle.
    #[error("the server says that the handle does not hold the lock any more")]
    NotLocked,
    /// The lease could not be extended in time. The server may see the lock as held for a little longer.
    #[error("the lease of the lock could not be extended in time")]
    NotExtended(#[source] Option<Arc<Error>>),
    /// [`LockGuard::release_with`] has given it back.
    #[error("the lock was given back")]
    GivenBack,
    /// [`LockGuard::release_with`] has failed, or was dropped, in a way that leaves open whether it was given back.
    #[error("the lock was to be given back; whether that happened is not known")]
    GivingBack,
}

/// How a lock is to be taken; made by [`Account::lock`].
#[derive(Clone, Debug)]
#[must_use = "it takes the lock by `acquire`"]
pub struct LockBuilder {
    account: Account,
    asked: Asked,
}

impl Account {
    /// A lock of this name, to be taken by [`LockBuilder::acquire`] or [`LockBuilder::acquire_unless`].
    pub fn lock(&self, id: impl Into<Arc<str>>) -> LockBuilder {
        let asked = Asked { id: id.into(), lease: LEASE, wait: Duration::ZERO, owner: None };
        LockBuilder { account: self.clone(), asked }
    }
}

impl LockBuilder {
    /// How long the lock stays taken when this process dies: 1 s to a day, in whole seconds; 30 s when not given. While the
    /// guard lives the lease is extended each third of it.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.asked.lease = lease;
        self
    }

    /// How long to wait for the lock, in whole seconds: any time, made of several requests where the server's 300 s are not
    /// enough; between two of them others may come first. Without it, it is tried once.
    ///
    /// A server that is away, or does not answer, is waited for only as long as the client's
    /// [`RetryPolicy`](crate::RetryPolicy) says: then the wait ends with that error, however much of it is left.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.asked.wait = wait;
        self
    }

    /// Says who takes the lock, in at most 256 bytes; shown to those who wait for it.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.asked.owner = Some(owner.into());
        self
    }

    /// Takes the lock.
    ///
    /// A connection that breaks loses nothing: whether the lock was granted is asked for. When the future is dropped, a
    /// task of the runtime leaves the queue, or gives back what was granted in that moment.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::LockTimeout`](crate::Code::LockTimeout) when another held it for all of the wait.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn acquire(self) -> Result<LockGuard, Error> {
        let abandoned = CancellationToken::new();
        let task = self.begin(&abandoned, Undoing::Later)?;
        let _abandons = abandoned.drop_guard();
        ended(task.await)
    }

    /// Takes the lock unless the future completes first: then gives what that gave, and nothing is left behind. In that
    /// case, and after an error, this returns only when the queue is left and what may have been granted is given back; or
    /// when that has failed for good, for as long as the lock could last, and it ends with its lease. Whoever does not want
    /// to wait for that may drop this future, and it is done as by [`acquire`](Self::acquire).
    ///
    /// ```no_run
    /// # use dragon_client::{Account, Error};
    /// # async fn example(account: Account) -> Result<(), Error> {
    /// # let interrupt = std::future::pending::<()>();
    /// match account.lock("nightly").acquire_unless(interrupt).await? {
    ///     Ok(guard) => guard.release().await?,
    ///     Err(()) => println!("interrupted"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As of [`acquire`](Self::acquire).
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn acquire_unless<T>(
        self,
        broken_off: impl Future<Output = T>,
    ) -> Result<Result<LockGuard, T>, Error> {
        let abandoned = CancellationToken::new();
        let mut task = self.begin(&abandoned, Undoing::First)?;
        let abandons = abandoned.drop_guard();
        let reason = tokio::select! {
            biased;
            reason = broken_off => reason,
            outcome = &mut task => return ended(outcome).map(Ok),
        };
        drop(abandons);
        // Granted in that very moment.
        if let Ok(guard) = ended(task.await) {
            guard.give_back().await;
        }
        Ok(Err(reason))
    }

    /// Begins to take the lock in a task. It is one of its own since it has to go on for a little when nobody waits any
    /// more. A guard that nobody takes from it is dropped too, and gives its lock back.
    fn begin(self, abandoned: &CancellationToken, undoing: Undoing) -> Result<Task, Error> {
        for (name, duration) in [("lease", self.asked.lease), ("wait", self.asked.wait)] {
            if duration.subsec_nanos() > 0 {
                return Err(Error::Invalid(format!("the {name} {duration:?} is no whole number of seconds")));
            }
        }
        Ok(tokio::spawn(acquire(Acquiring::new(self.account, self.asked), abandoned.clone(), undoing)))
    }
}

type Task = JoinHandle<Result<LockGuard, Error>>;

fn ended(task: Result<Result<LockGuard, Error>, JoinError>) -> Result<LockGuard, Error> {
    match task {
        Ok(outcome) => outcome,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_cancelled) => Err(Error::Invalid("the runtime is going down".to_owned())),
    }
}

/// When an error is told.
#[derive(Clone, Copy, Debug)]
enum Undoing {
    /// After all is undone that may have happened.
    First,
    /// At once: the caller need not wait for that.
    Later,
}

async fn acquire(
    mut acquiring: Acquiring,
    abandoned: CancellationToken,
    undoing: Undoing,
) -> Result<LockGuard, Error> {
    let error = match abandoned.run_until_cancelled(acquiring.run()).await {
        Some(Ok(held)) => return Ok(LockGuard::new(held)),
        Some(Err(error)) => error,
        None => Error::Invalid("nobody wants the lock any more".to_owned()),
    };
    match undoing {
        Undoing::First => acquiring.give_up().await,
        Undoing::Later => drop(tokio::spawn(acquiring.give_up())),
    }
    Err(error)
}
