//! Taking a lock, whatever happens to the connection meanwhile.
//!
//! Each request for the lock has an idempotency id of its own. When its answer is lost, a second request *uses up* that id
//! and asks for nothing else. Either it is told what the first was answered, or the first can't happen any more: the
//! server looks at the id again when it would grant the lock, and refuses. So nothing is left to chance or to time, and a
//! new request does not queue up behind one that nobody listens to.

use super::Lost;
use super::held::Held;
use crate::account::new_id;
use crate::error::Code;
use crate::retry::{Retries, RetryPolicy};
use crate::{Account, Answer, Error, Handle, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that one request may wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How much longer than its lease a grant is remembered, for those who ask about it.
const ID_MORE: Duration = Duration::from_secs(60);
/// How long an id stays used up: longer than any request can wait at the server, or be under way.
const USED_UP: Duration = Duration::from_secs(3_600);
/// A grant that is older than this part of its lease is extended before the guard is handed out.
const FRESH_PART: u32 = 10;

/// What is wanted.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: Arc<str>,
    pub(super) lease: Duration,
    pub(super) wait: Duration,
    pub(super) owner: Option<String>,
}

/// What the server may have granted.
#[derive(Clone, Debug)]
enum Granted {
    Nothing,
    /// Perhaps the lock, to the request with this idempotency id.
    Perhaps(String),
    Lock(Handle),
}

pub(super) struct Acquiring {
    account: Account,
    asked: Asked,
    granted: Granted,
}

impl Acquiring {
    pub(super) fn new(account: Account, asked: Asked) -> Self {
        Self { account, asked, granted: Granted::Nothing }
    }

    /// Takes the lock. Whenever this is dropped, or has failed, `give_up` leaves nothing behind.
    pub(super) async fn run(&mut self) -> Result<Held, Error> {
        let begun = Instant::now();
        let mut retries = Retries::new(self.account.client.retry_policy());
        loop {
            let left = self.asked.wait.saturating_sub(begun.elapsed());
            let piece = whole_seconds_up(left).min(WAIT_MAX);
            retries.begin_wait(piece);
            let error = match self.ask(piece).await {
                Ok(held) => match self.confirmed(held).await? {
                    Ok(held) => return Ok(held),
                    Err(not_locked) => not_locked,
                },
                // Not even what became of the request is known: another one might stand behind it.
                Err(error) if matches!(self.granted, Granted::Perhaps(_)) => return Err(error),
                Err(error) => error,
            };
            let may_wait_on = begun.elapsed() < self.asked.wait;
            // The request was cut short, but then the server has told what became of it.
            if error.is_outcome_unknown() && may_wait_on {
                retries.server_is_there();
            }
            match error.code() {
                // The wait is longer than one request's, or the lock was gone again before it was confirmed.
                Some(Code::LockTimeout | Code::NotLocked) if may_wait_on => retries.reset(),
                _ => retries.pause(error).await?,
            }
        }
    }

    /// Asks once for the lock.
    async fn ask(&mut self, wait: Duration) -> Result<Held, Error> {
        let (id, lease) = (new_id(), self.asked.lease);
        let request =
            Request::new().idempotency_id(id.clone()).idempotency_ttl(lease.saturating_add(ID_MORE));
        let mut request = request.lock(&*self.asked.id, lease).lock_wait(wait);
        if let Some(owner) = &self.asked.owner {
            request = request.lock_owner(owner.clone());
        }
        self.granted = Granted::Perhaps(id.clone());
        let sent = Instant::now();
        let (answer, lost) = match self.account.send(&request, wait).await {
            Ok(answer) => (answer, None),
            Err(error) if error.is_outcome_unknown() => {
                tracing::debug!(lock = &*self.asked.id, %error, "whether the lock was granted is asked for");
                (use_up(&self.account, id, self.account.client.retry_policy()).await?, Some(error))
            }
            Err(error) => {
                if matches!(error, Error::Refused(_) | Error::Unreachable(_) | Error::Invalid(_)) {
                    self.granted = Granted::Nothing;
                }
                return Err(error);
            }
        };
        let Some(handle) = answer.lock else {
            self.granted = Granted::Nothing;
            let detail = "it grants no lock".to_owned();
            return Err(lost.unwrap_or(Error::NotCloudDragon { status: 200, detail }));
        };
        self.granted = Granted::Lock(handle);
        let (account, id) = (self.account.clone(), Arc::clone(&self.asked.id));
        Ok(Held { account, id, handle, lease, sent, expired: answer.expired })
    }

    /// The lock with a lease that has most of its time left; or the server's word that it is gone.
    async fn confirmed(&mut self, held: Held) -> Result<Result<Held, Error>, Error> {
        if held.sent.elapsed() < held.lease / FRESH_PART {
            return Ok(Ok(held));
        }
        let mut retries = Retries::new(RetryPolicy::lasting(held.lease));
        let begun = Instant::now();
        // An extension that takes half of what it gains is of little use: once more, but not for ever.
        while begun.elapsed() < held.lease.saturating_mul(2) {
            let sent = Instant::now();
            match tokio::time::timeout(held.lease / 2, held.extend()).await {
                Ok(Ok(_)) => return Ok(Ok(Held { sent, ..held })),
                Ok(Err(error)) if error.code() == Some(&Code::NotLocked) => {
                    self.granted = Granted::Nothing;
                    return Ok(Err(error));
                }
                Ok(Err(error)) => retries.pause(error).await?,
                Err(_elapsed) => tracing::debug!(lock = &*held.id, "an extension took too long"),
            }
        }
        Err(Lost::NotExtended(None).into())
    }

    /// Gives back what may have been granted.
    pub(super) async fn give_up(self) {
        let Self { account, asked, granted } = self;
        let handle = match granted {
            Granted::Nothing => return,
            Granted::Lock(handle) => Some(handle),
            Granted::Perhaps(id) => {
                // As long as the server may grant it, and the lease may last then.
                let policy = RetryPolicy::lasting(asked.wait.min(WAIT_MAX).saturating_add(asked.lease));
                match use_up(&account, id, policy).await {
                    Ok(answer) => answer.lock,
                    Err(error) => {
                        tracing::warn!(lock = &*asked.id, %error, "whether a lock was granted is not known");
                        None
                    }
                }
            }
        };
        let Some(handle) = handle else { return };
        let (id, lease, sent) = (asked.id, asked.lease, Instant::now());
        Held { account, id, handle, lease, sent, expired: false }.give_back().await;
    }
}

/// Uses up the idempotency id of a request for a lock, and gives what that request was answered; nothing, if it never
/// happened. Then it can't any more.
async fn use_up(account: &Account, id: String, policy: RetryPolicy) -> Result<Answer, Error> {
    let request = Request::new().idempotency_id(id).idempotency_ttl(USED_UP);
    let mut retries = Retries::new(policy);
    loop {
        match account.send(&request, Duration::ZERO).await {
            // Used by the request for the lock; or by this one, whose answer was lost: an answer with nothing in it.
            Err(Error::Refused(refusal)) if refusal.code == Code::DuplicateRequest => {
                return refusal.first_answer().ok_or(Error::Refused(refusal));
            }
            Err(error) => retries.pause(error).await?,
            done => return done,
        }
    }
}

fn whole_seconds_up(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)))
}
