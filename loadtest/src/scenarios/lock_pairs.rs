//! `lock-pairs`: contenders take and release locks as fast as they get them. Never may two hold one, and the
//! handles rise from grant to grant.

use crate::answers::{Granted, released};
use crate::client::Answer;
use crate::exchange::{self, Answered, Exchange};
use crate::http::{Field, Request};
use crate::latency::Latencies;
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::probe::{Probe, total};
use crate::random::Random;
use crate::scenarios::held;
use crate::scenarios::holder::Holder;
use crate::server::Server;
use crate::space::{NAME_DIGITS, Space};
use crate::sync_rate::syncs_per_s;
use anyhow::Result;
use serde_json::json;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Room for the longest handle; a shorter one has white space before it.
const HANDLE_BYTES: usize = 20;
const SYNC_TIME: Duration = Duration::from_millis(250);

/// The server's counts of batches, and of syncs.
const BATCHES: &str = "dragon_commit_seconds_count";
const SYNCS: &str = "dragon_sync_seconds_count";

/// A request with its changing parts.
struct Laid {
    request: Request,
    account: Field,
    lock: Field,
}

impl Laid {
    fn new(address: SocketAddr, space: &Space, body: &str) -> Self {
        let request = space.post(address, "db", body);
        let (account, lock) = (request.path_field(NAME_DIGITS), request.field(r#""lock-"#, NAME_DIGITS));
        Self { request, account, lock }
    }

    fn write(&mut self, account: usize, lock: usize) {
        self.request.write_digits(self.account, account as u64);
        self.request.write_digits(self.lock, lock as u64);
    }
}

/// What the contenders at one frontend note together.
type Times = Rc<RefCell<Latencies>>;

struct Contender {
    take: Laid,
    release: Laid,
    handle_field: Field,
    random: Random,
    space: Space,
    holders: Rc<[Holder]>,
    account: usize,
    lock: usize,
    holds: bool,
    grants: u64,
    /// How long each pair took, of all contenders at the same frontend.
    times: Times,
    begun: Instant,
}

impl Contender {
    fn new(
        address: SocketAddr,
        space: &Space,
        holders: &Rc<[Holder]>,
        times: &Times,
        connection: usize,
    ) -> Self {
        let name = format!("lock-{:0NAME_DIGITS$}", 0);
        let take = json!({"LockID": name, "LockDur": 60, "LockWait": 60}).to_string();
        let release = format!(r#"{{"UnlockID":"{name}","Unlock":{:HANDLE_BYTES$}}}"#, 0);
        let release = Laid::new(address, space, &release);
        Self {
            take: Laid::new(address, space, &take),
            handle_field: release.request.field(r#""Unlock":"#, HANDLE_BYTES),
            release,
            random: Random::new(connection as u64),
            space: space.clone(),
            holders: Rc::clone(holders),
            account: 0,
            lock: 0,
            holds: false,
            grants: 0,
            times: Rc::clone(times),
            begun: Instant::now(),
        }
    }

    fn holder(&self) -> &Holder {
        &self.holders[self.account * self.space.keys + self.lock]
    }
}

impl Exchange for Contender {
    fn request(&mut self) -> &Request {
        if self.holds {
            self.holder().release();
            return &self.release.request;
        }
        self.account = self.random.below(self.space.accounts);
        self.lock = self.random.below(self.space.keys);
        self.take.write(self.account, self.lock);
        self.release.write(self.account, self.lock);
        self.begun = Instant::now();
        &self.take.request
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        if self.holds {
            released(answer)?;
            self.holds = false;
            self.times.borrow_mut().record(self.begun.elapsed());
            return Ok(Answered::Done { operations: 2 });
        }
        let granted = Granted::read(answer)?;
        self.holder().take(granted)?;
        self.release.request.write_number(self.handle_field, granted.lock);
        self.holds = true;
        self.grants += 1;
        Ok(Answered::More)
    }
}

/// Lets them contend. A unit is a pair of lock and unlock. The disk's own rate is measured in `folder`, where
/// the server's data is.
///
/// # Errors
/// For a wrong answer, above all two holders.
pub async fn run(server: &Server, parameters: &Parameters, folder: &Path) -> Result<Outcome> {
    let space = Space::new("lock-pairs", parameters.accounts, parameters.keys);
    let contended = space.accounts * space.keys == 1;
    let syncs_before = contended.then(|| syncs_per_s(folder, SYNC_TIME)).transpose()?;
    let holders: Rc<[Holder]> = vec![Holder::default(); space.accounts * space.keys].into();
    let before = [total(server, BATCHES).await?, total(server, SYNCS).await?];
    let begun = Instant::now();
    let times: Vec<(SocketAddr, Times)> =
        server.frontends().map(|address| (address, Times::default())).collect();
    let new = |number| {
        let (address, times) = &times[number % times.len()];
        Contender::new(*address, &space, &holders, times, number)
    };
    let (measured, done) = exchange::run(server, parameters, new).await?;
    let all_s = begun.elapsed().as_secs_f64();
    let after = [total(server, BATCHES).await?, total(server, SYNCS).await?];
    let rate = |at: usize| after[at].zip(before[at]).map(|(after, before)| (after - before) / all_s);
    held::no_locks(&mut Probe::open(server.address).await?, &space).await?;
    let pairs_per_s = measured.units as f64 / measured.wall.as_secs_f64();
    let mut outcome = Outcome::of(measured)
        .with_known("batches/s meanwhile", rate(0))
        .with_known("synced batches/s meanwhile", rate(1))
        .with_known(
            "pairs a synced batch",
            rate(1).filter(|rate| *rate > 0.0).map(|rate| pairs_per_s / rate),
        );
    if times.len() > 1 {
        outcome = with_shares(outcome, &times);
    }
    if let Some(syncs_before) = syncs_before {
        let idle = f64::midpoint(syncs_before, syncs_per_s(folder, SYNC_TIME)?);
        let grants = || done.iter().map(|contender| contender.grants as f64);
        outcome = outcome
            .with("syncs/s of the idle machine", idle)
            .with("grants of the one with fewest", grants().fold(f64::MAX, f64::min))
            .with("grants of the one with most", grants().fold(0.0, f64::max));
    }
    Ok(outcome)
}

/// What each frontend has got of the locks, warm-up included, and how long that took.
fn with_shares(mut outcome: Outcome, times: &[(SocketAddr, Times)]) -> Outcome {
    let all: u64 = times.iter().map(|(_, times)| times.borrow().count()).sum();
    for (number, (_, times)) in (1..).zip(times) {
        let times = times.borrow();
        let percentiles = times.percentiles();
        outcome = outcome
            .with(&format!("frontend {number}: % of the grants"), 100.0 * times.count() as f64 / all as f64)
            .with(&format!("frontend {number}: p50 ms"), percentiles.p50_us / 1e3)
            .with(&format!("frontend {number}: p99 ms"), percentiles.p99_us / 1e3);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_laid_out() {
        let holders: Rc<[Holder]> = vec![Holder::default(); 6].into();
        let space = Space::new("x", 2, 3);
        let mut contender =
            Contender::new(([127, 0, 0, 1], 1).into(), &space, &holders, &Times::default(), 1);
        contender.request();
        let (account, lock) = (contender.account, contender.lock);
        let body = br#"{"Lock":42,"Till":9999999999,"Version":42}"#;
        assert_eq!(contender.check(&Answer { status: 200, body }).unwrap(), Answered::More);
        let request = contender.request();
        let expected = json!({"UnlockID": format!("lock-{lock:07}"), "Unlock": 42});
        assert_eq!(serde_json::from_slice::<serde_json::Value>(request.body()).unwrap(), expected);
        let path = format!("POST /db/{} HTTP", space.account(account));
        assert!(request.bytes().starts_with(path.as_bytes()));
        assert_eq!(
            contender.check(&Answer { status: 200, body: b"{}" }).unwrap(),
            Answered::Done { operations: 2 }
        );
        assert!(contender.check(&Answer { status: 409, body: b"{}" }).is_err());
    }
}
