//! Locks, and the guards that hold them.

use crate::place::{Outcome, refusal};
use dragon_client::{Account, Code, Error, LockGuard, Lost, Request};
use std::future::pending;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Ends with the lock in the second client's hands.
pub async fn waits_for_a_lock(first: &Account, second: &Account) -> Outcome<LockGuard> {
    let held = first.lock("nightly").owner("first").acquire().await?;

    match second.lock("nightly").owner("second").acquire().await {
        Err(Error::Refused(refusal)) if refusal.code == Code::LockTimeout => {
            assert_eq!(refusal.owner.as_deref(), Some("first"));
            assert!(refusal.till.ok_or("no Till")?.time() > SystemTime::now());
        }
        other => return Err(format!("not refused: {other:?}").into()),
    }

    let wait = Duration::from_secs(30);
    let waiting = tokio::spawn(second.lock("nightly").owner("second").wait(wait).acquire());
    until_one_waits(first).await?;
    let handle = held.handle();
    held.release().await?;
    let guard = waiting.await??;
    assert!(guard.handle() > handle);
    assert!(guard.is_held() && !guard.followed_an_expired_one());
    Ok(guard)
}

async fn until_one_waits(account: &Account) -> Outcome {
    let seen = async {
        while !account.locks("nightly").all().await?.iter().any(|lock| lock.waiting == 1) {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    timeout(Duration::from_secs(10), seen).await?
}

/// The lock is the second client's here.
pub async fn leaves_the_queue(first: &Account, second: &Account) -> Outcome {
    let (interrupt, interrupted) = oneshot::channel::<()>();
    let waiting = tokio::spawn(run_alone(first.clone(), interrupted));
    until_one_waits(second).await?;
    drop(interrupt);
    assert_eq!(waiting.await??, None);
    assert_eq!(second.locks("nightly").all().await?[0].waiting, 0);
    Ok(())
}

/// Does the work under the lock, and gives what it gave; none, when it was interrupted, by Ctrl-C say.
async fn run_alone(account: Account, interrupted: impl Future) -> Result<Option<u32>, Error> {
    tokio::pin!(interrupted);
    let lock = account.lock("nightly").wait(Duration::from_secs(60));
    let Ok(guard) = lock.acquire_unless(&mut interrupted).await? else { return Ok(None) };
    let done = tokio::select! {
        done = work() => Some(done),
        _ = interrupted => None,
        lost = guard.lost() => return Err(lost.into()),
    };
    guard.release().await?;
    Ok(done)
}

async fn work() -> u32 {
    42
}

pub async fn guards_a_write(account: &Account, mut guard: LockGuard) -> Outcome {
    let handle = guard.handle();
    let step = Request::new().set("report", "half done")?.add("steps", 1);
    account.transact_once(guard.guard(step)?).await?;

    // The last write, and the lock given back: both, or neither.
    guard.release_with(Request::new().set("report", "done")?).await?;
    assert!(!guard.is_held());
    assert!(matches!(guard.lost().await, Lost::GivenBack));

    let late = Request::new().set("report", "too late")?.only_if_locked("nightly", handle);
    let refused = refusal(account.transact_once(late).await)?;
    assert_eq!((refused.status, refused.code), (409, Code::NotLocked));
    assert_eq!(refused.id.as_deref(), Some("nightly"));
    assert_eq!(account.get("report").await?.json::<String>()?.as_deref(), Some("done"));
    Ok(())
}

pub async fn holds_for_longer_than_a_lease(first: &Account, second: &Account) -> Outcome {
    let lease = Duration::from_secs(2);
    let guard = first.lock("long").lease(lease).acquire().await?;
    while_held(&guard, sleep(lease * 3 / 2)).await?;
    let refused = refusal(second.lock("long").acquire().await)?;
    assert_eq!(refused.code, Code::LockTimeout);
    guard.release().await?;
    Ok(())
}

pub async fn stops_when_the_lock_is_lost(first: &Account, second: &Account) -> Outcome {
    let guard = first.lock("taken away").lease(Duration::from_secs(2)).acquire().await?;
    // Whoever has the handle can give the lock back: an operator, say.
    second.transact(Request::new().unlock("taken away", guard.handle())).await?;

    let endless = pending::<()>();
    let stopped = while_held(&guard, endless).await;
    assert!(stopped.is_err() && !guard.is_held());
    let refused = refusal(first.transact_once(guard.guard(Request::new().add("steps", 1))?).await)?;
    assert_eq!(refused.code, Code::NotLocked);
    assert_eq!(first.counter("steps").await?, 1);
    Ok(())
}

/// Does the work, and stops it where it waits when the lock is lost.
async fn while_held<T>(guard: &LockGuard, work: impl Future<Output = T>) -> Result<T, Lost> {
    tokio::select! {
        done = work => Ok(done),
        lost = guard.lost() => Err(lost),
    }
}

pub async fn gives_back_what_is_dropped(first: &Account, second: &Account) -> Outcome {
    let guard = first.lock("dropped").acquire().await?;
    let handle = guard.handle();
    drop(guard);
    // Shorter than the lease, which is 30 s.
    let next = second.lock("dropped").wait(Duration::from_secs(20)).acquire().await?;
    assert!(next.handle() > handle);
    next.release().await?;
    Ok(())
}
