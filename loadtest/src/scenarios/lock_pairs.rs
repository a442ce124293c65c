//! `lock-pairs`: contenders take and release one lock as fast as they get it. Never may two hold it, and
//! the handles rise from grant to grant.

use crate::client::Answer;
use crate::closed_loop::{self, Exchange, Step, Timing};
use crate::http::Request;
use crate::latency::Percentiles;
use crate::probe::{held_locks, metric, new_account};
use crate::server::Server;
use crate::sync_rate::syncs_per_s;
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LOCK: &str = "contended";
/// Room for the longest handle; a shorter one has white space before it.
const HANDLE_BYTES: usize = 20;
const SYNC_TIME: Duration = Duration::from_millis(500);

/// The server's counts of batches, and of syncs.
const BATCHES: &str = "dragon_commit_seconds_count";
const SYNCS: &str = "dragon_sync_seconds_count";

/// What was measured, in one round.
#[derive(Debug, Serialize)]
pub struct LockPairs {
    /// How many contended.
    pub contenders: usize,
    /// Pairs of lock and unlock a second.
    pub pairs_per_s: f64,
    /// Batches that the server committed a second meanwhile, as it counts them itself. Some write
    /// nothing: a request that finds the lock held.
    pub batches_per_s: Option<f64>,
    /// Batches of them that it wrote and synced.
    pub server_syncs_per_s: Option<f64>,
    /// Writes of 4 KiB that this machine syncs a second, idle, before and after.
    pub machine_syncs_per_s: f64,
    /// CPU time of the server a pair.
    pub server_cpu_us: Option<f64>,
    /// How much of a core the client used.
    pub client_cores: f64,
    /// From asking for the lock to the answer of the release.
    #[serde(flatten)]
    pub latency: Percentiles,
    /// Grants of the contender that got fewest, warm-up included.
    pub grants_min: u64,
    /// And of the one that got most.
    pub grants_max: u64,
}

/// The answer of a grant.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Granted {
    /// The handle.
    pub lock: u64,
    /// When the lease ends.
    pub till: u64,
    /// The revision.
    pub version: u64,
}

/// The answer of a release that did nothing else.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {}

/// Who holds the lock, as the clients together know it.
#[derive(Debug, Default)]
pub struct Holder {
    held: Cell<bool>,
    handle: Cell<u64>,
}

impl Holder {
    /// Notes a grant.
    ///
    /// # Errors
    /// If the lock is held, the lease is over, or the handle is not higher than the last one.
    pub fn take(&self, granted: Granted) -> Result<()> {
        let Granted { lock, till, version } = granted;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ensure!(till > now.as_secs(), "the lease of {lock} ends at {till}, which is over");
        ensure!(lock == version, "handle {lock} was granted at revision {version}");
        ensure!(!self.held.replace(true), "TWO HOLDERS: {lock} was granted while {} held", self.handle.get());
        let last = self.handle.replace(lock);
        ensure!(lock > last, "handle {lock} was granted after {last}");
        Ok(())
    }

    /// Notes that the holder is about to release.
    pub fn release(&self) {
        self.held.set(false);
    }
}

struct Contender {
    lock: Request,
    unlock: Request,
    handle_at: usize,
    holds: bool,
    grants: u64,
    holder: Rc<Holder>,
}

impl Contender {
    fn new(address: SocketAddr, account: &str, holder: &Rc<Holder>) -> Self {
        let path = format!("/db/{account}");
        let lock = json!({"LockID": LOCK, "LockDur": 60, "LockWait": 60}).to_string();
        let unlock = format!(r#"{{"UnlockID":"{LOCK}","Unlock":{:HANDLE_BYTES$}}}"#, 0);
        let handle_at = unlock.len() - 1 - HANDLE_BYTES;
        Self {
            lock: Request::post(address, &path, &lock),
            unlock: Request::post(address, &path, &unlock),
            handle_at,
            holds: false,
            grants: 0,
            holder: Rc::clone(holder),
        }
    }
}

impl Exchange for Contender {
    fn request(&mut self) -> &[u8] {
        if self.holds {
            self.holder.release();
            self.unlock.bytes()
        } else {
            self.lock.bytes()
        }
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Step> {
        if self.holds {
            let Released {} = answer.read()?;
            self.holds = false;
            return Ok(Step::Unit);
        }
        let granted: Granted = answer.read()?;
        self.holder.take(granted)?;
        let handle = format!("{:HANDLE_BYTES$}", granted.lock);
        self.unlock.body_mut()[self.handle_at..][..HANDLE_BYTES].copy_from_slice(handle.as_bytes());
        self.holds = true;
        self.grants += 1;
        Ok(Step::Part)
    }
}

/// Lets them contend. The disk's own rate is measured in `folder`, where the server's data is.
///
/// # Errors
/// For a wrong answer, above all two holders.
pub async fn run(server: &Server, contenders: usize, timing: Timing, folder: &Path) -> Result<LockPairs> {
    let (address, account) = (server.address, new_account("lock-pairs"));
    let syncs_before = syncs_per_s(folder, SYNC_TIME)?;
    let holder = Rc::new(Holder::default());
    let exchanges = (0..contenders).map(|_| Contender::new(address, &account, &holder)).collect();
    let before = [metric(address, BATCHES).await?, metric(address, SYNCS).await?];
    let begun = std::time::Instant::now();
    let (measured, done) = closed_loop::run(server, exchanges, timing).await?;
    let all_s = begun.elapsed().as_secs_f64();
    let after = [metric(address, BATCHES).await?, metric(address, SYNCS).await?];
    let rate = |at: usize| after[at].zip(before[at]).map(|(after, before)| (after - before) / all_s);
    let syncs_after = syncs_per_s(folder, SYNC_TIME)?;
    if let Some(lock) = held_locks(address, &account).await?.first() {
        bail!("{} is held, though everyone has released it", lock.id);
    }
    let grants = || done.iter().map(|contender| contender.grants);
    let pairs = measured.units;
    let wall_s = measured.wall.as_secs_f64();
    Ok(LockPairs {
        contenders,
        pairs_per_s: pairs as f64 / wall_s,
        batches_per_s: rate(0),
        server_syncs_per_s: rate(1),
        machine_syncs_per_s: f64::midpoint(syncs_before, syncs_after),
        server_cpu_us: measured.server_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / pairs.max(1) as f64),
        client_cores: measured.client_cpu.as_secs_f64() / wall_s,
        latency: measured.latency,
        grants_min: grants().min().unwrap_or_default(),
        grants_max: grants().max().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_holders_are_seen() {
        let grant = |lock| Granted { lock, till: u64::MAX, version: lock };
        let holder = Holder::default();
        holder.take(grant(5)).unwrap();
        assert!(holder.take(grant(6)).is_err());
        let holder = Holder::default();
        holder.take(grant(5)).unwrap();
        holder.release();
        assert!(holder.take(grant(5)).is_err());
        holder.release();
        assert!(holder.take(Granted { lock: 9, till: u64::MAX, version: 10 }).is_err());
    }

    #[test]
    fn handles_are_laid_out() {
        let mut contender = Contender::new(([127, 0, 0, 1], 1).into(), "a", &Rc::new(Holder::default()));
        let body = br#"{"Lock":42,"Till":9999999999,"Version":42}"#;
        assert_eq!(contender.check(&Answer { status: 200, body }).unwrap(), Step::Part);
        assert!(contender.request().ends_with(br#"{"UnlockID":"contended","Unlock":                  42}"#));
        assert_eq!(contender.check(&Answer { status: 200, body: b"{}" }).unwrap(), Step::Unit);
        assert!(contender.check(&Answer { status: 409, body: b"{}" }).is_err());
    }
}
