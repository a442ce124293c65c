//! `lock-crowd`: a crowd waits for one lock, and each one that gets it gives it back at once. All get
//! through, each exactly once, first come, first served.

use crate::answers::{Granted, Released};
use crate::client::Connection;
use crate::crowd;
use crate::drive::Begin;
use crate::http::Request;
use crate::latency::Latencies;
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::probe::{ask, held_locks, until_queued};
use crate::scenarios::holder::Holder;
use crate::server::Server;
use crate::space::Space;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const LOCK: &str = "crowded";
/// So many are sent together before the server is asked whether they all wait: between such groups the
/// order of arrival is known, within one it is not.
const GROUP: usize = 10;
const QUEUE_TIME_MAX: Duration = Duration::from_secs(30);
const THROUGH_TIME_MAX: Duration = Duration::from_secs(120);

/// The grants in the order in which they came: who, and when.
type Grants = RefCell<Vec<(usize, Instant)>>;

/// Lets a crowd through one lock. A unit is one that got it, its latency how long from the release that set
/// them off.
///
/// # Errors
/// For a wrong answer, two holders, a waiter that is left out or one that overtakes.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let waiters = parameters.connections;
    let (address, account) = (server.address, Space::new("lock-crowd", 1, 1).account(0));
    let path = format!("/db/{account}");
    let first: Granted = ask(address, &path, &json!({"LockID": LOCK, "LockDur": 300})).await?;
    let holder = Rc::new(Holder::default());
    holder.take(first)?;
    let mut crowd = crowd::connect(server, waiters).await?;
    let wait = json!({"LockID": LOCK, "LockDur": 60, "LockWait": 300}).to_string();
    let wait = Request::post(address, &path, &wait);
    let begun = Instant::now();
    let mut queued = 0;
    for group in crowd.chunks_mut(GROUP) {
        for connection in &mut *group {
            connection.send(wait.bytes()).await?;
        }
        queued += group.len();
        until_queued(address, &account, queued, QUEUE_TIME_MAX).await?;
    }
    let queued_s = begun.elapsed().as_secs_f64();
    let grants = Rc::new(Grants::default());
    let mut tasks = JoinSet::new();
    for (number, connection) in crowd.into_iter().enumerate() {
        let (path, holder, grants) = (path.clone(), Rc::clone(&holder), Rc::clone(&grants));
        tasks.spawn_local(async move { pass(connection, number, &path, &holder, &grants, address).await });
    }
    // All of them listen before the first grant can come.
    tokio::task::yield_now().await;
    let begin = Begin::now(&server.processes())?;
    holder.release();
    let Released {} = ask(address, &path, &json!({"UnlockID": LOCK, "Unlock": first.lock})).await?;
    let all = async {
        while let Some(passed) = tasks.join_next().await {
            passed??;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(THROUGH_TIME_MAX, all).await {
        Ok(result) => result?,
        Err(_) => {
            let got = grants.borrow().len();
            bail!("only {got} of {waiters} got the lock in {THROUGH_TIME_MAX:?}");
        }
    }
    let mut measured = begin.end(&server.processes())?;
    if let Some(lock) = held_locks(address, &account).await?.first() {
        bail!("{} is held, though everyone has released it", lock.id);
    }
    let grants = grants.take();
    measured.units = grants.len() as u64;
    measured.operations = measured.units;
    measured.latency = grants.iter().map(|(_, at)| at.duration_since(begin.at())).collect();
    let handovers: Latencies = grants.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    let order: Vec<usize> = grants.into_iter().map(|(number, _)| number).collect();
    let swapped = check_order(&order, waiters)?;
    let (through_s, handovers) = (measured.wall.as_secs_f64(), handovers.percentiles());
    Ok(Outcome::of(measured)
        .with("all through, s", through_s)
        .with("hand-over p50, ms", handovers.p50_us / 1e3)
        .with("hand-over p99, ms", handovers.p99_us / 1e3)
        .with("until all of them waited, s", queued_s)
        .with("swapped among those sent at once", swapped as f64))
}

/// Takes the lock when it is granted, and gives it back.
async fn pass(
    mut connection: Connection,
    number: usize,
    path: &str,
    holder: &Holder,
    grants: &Grants,
    address: std::net::SocketAddr,
) -> Result<()> {
    let granted: Granted = connection.receive().await?.read().with_context(|| format!("waiter {number}"))?;
    holder.take(granted)?;
    grants.borrow_mut().push((number, Instant::now()));
    let body = json!({"UnlockID": LOCK, "Unlock": granted.lock}).to_string();
    holder.release();
    let Released {} = connection.exchange(&Request::post(address, path, &body)).await?.read()?;
    Ok(())
}

/// Checks that everyone came once and no group came before an earlier one; counts swaps within groups.
fn check_order(order: &[usize], waiters: usize) -> Result<usize> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    ensure!(sorted.iter().copied().eq(0..waiters), "not everyone got the lock exactly once");
    let mut swaps = 0;
    for pair in order.windows(2) {
        ensure!(
            pair[0] / GROUP <= pair[1] / GROUP,
            "waiter {} got the lock before waiter {}, who had waited when it came",
            pair[0],
            pair[1]
        );
        swaps += usize::from(pair[0] > pair[1]);
    }
    Ok(swaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let mut order: Vec<usize> = (0..25).collect();
        assert_eq!(check_order(&order, 25).unwrap(), 0);
        order.swap(3, 4);
        assert_eq!(check_order(&order, 25).unwrap(), 1);
        order.swap(9, 10);
        assert!(check_order(&order, 25).is_err());
        assert!(check_order(&[0, 1, 1], 3).is_err());
        assert!(check_order(&[0, 1], 3).is_err());
    }
}
