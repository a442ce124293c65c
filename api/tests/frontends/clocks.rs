//! Frontends whose machines' clocks are an hour off, both ways: leases and times to live are the
//! database's.

use crate::cluster::{Cluster, Settings};
use crate::database::Database;
use crate::support::{
    Account, Connection, assert_till, at_another_time, eventually, faketime_library, unix_s,
};
use serde_json::json;
use std::time::{Duration, Instant};

const RIGHT: usize = 0;
const AHEAD: usize = 1;
const BEHIND: usize = 2;
const HOUR_S: i64 = 3_600;

/// One frontend with the right time, one ahead of it, one behind.
async fn start() -> Cluster {
    let library = faketime_library();
    let off = |offset: &'static str| at_another_time(&library, offset);
    let (ahead, behind) = (off("+3600s"), off("-3600s"));
    let each: [Settings; 3] = [&[], &ahead, &behind];
    let cluster = Cluster::start_each(Database::start(false), &each);
    // Or all that follows would show nothing.
    for (frontend, off_s) in [(RIGHT, 0), (AHEAD, HOUR_S), (BEHIND, -HOUR_S)] {
        let seen_s = clock_s(cluster.frontends[frontend].address()).await;
        let wrong_s = seen_s - unix_s().cast_signed() - off_s;
        assert!(wrong_s.abs() < 60, "frontend {frontend} sees {seen_s}, {wrong_s} s from what was set");
    }
    cluster
}

/// A frontend's own time, by the `Date` of its answers.
async fn clock_s(address: std::net::SocketAddr) -> i64 {
    let answer = Connection::open(address).await.get("/health/live").await;
    let date = httpdate::parse_http_date(answer.header("date").unwrap()).unwrap();
    date.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// How long something of so many seconds lasts at least, and how far the store's time may be off by now.
#[derive(Clone, Copy, Debug)]
struct Slew {
    part: f64,
    begun: Instant,
}

impl Slew {
    fn of(cluster: &Cluster) -> Self {
        Self { part: cluster.database.slew(), begun: cluster.begun }
    }

    fn shortest(self, dur_s: u64) -> Duration {
        let off_ms = if self.part > 0.0 { 100 } else { 50 };
        Duration::from_secs_f64(dur_s as f64 / (1.0 + self.part)) - Duration::from_millis(off_ms)
    }

    fn assert_till(self, till: u64, before_s: u64, dur_s: u64) {
        if self.part == 0.0 {
            assert_till(till, before_s, dur_s);
        }
        let off_s = 1 + (self.begun.elapsed().as_secs_f64() * self.part).ceil() as u64;
        let expected = before_s + dur_s - off_s..=unix_s() + dur_s + off_s;
        assert!(expected.contains(&till), "Till {till} is not in {expected:?}");
    }
}

/// A lease of two seconds taken at one frontend, seen and waited for at another.
async fn check_lease(taker: &Account, waiter: &Account, lock: &str, slew: Slew) {
    const DUR_S: u64 = 2;
    let (before_s, begun) = (unix_s(), Instant::now());
    let taken = taker.db(json!({"LockID": lock, "LockDur": DUR_S}).to_string()).await;
    let (handle, till) = (taken.number("Lock"), taken.number("Till"));
    slew.assert_till(till, before_s, DUR_S);
    for account in [taker, waiter] {
        let shown = account.held_lock(lock).await.expect("it is held");
        assert_eq!((&shown["Lock"], &shown["Till"]), (&json!(handle), &json!(till)));
        let refused = account.db(json!({"LockID": lock, "LockDur": DUR_S}).to_string()).await;
        refused.refused(409, "lock_timeout", json!({"Till": till}));
    }
    let wait = json!({"LockID": lock, "LockDur": 300, "LockWait": 60}).to_string();
    let (before_s, granted) = (unix_s(), waiter.db(wait).await);
    let waited = begun.elapsed();
    assert!(waited >= slew.shortest(DUR_S), "it was free after {waited:?}");
    assert!(waited < Duration::from_secs(30), "it was free only after {waited:?}");
    assert_eq!(granted.ok()["Expired"], true);
    assert!(granted.number("Lock") > handle);
    slew.assert_till(granted.number("Till"), before_s, 300);
    let late = json!({"UnlockID": lock, "Unlock": handle}).to_string();
    taker.db(late).await.refused(409, "not_locked", json!({"ID": lock}));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_the_same_whatever_the_frontends_clocks() {
    let cluster = start().await;
    let at = |frontend: usize| cluster.account_at(frontend, "a");
    for (taker, waiter) in [(AHEAD, BEHIND), (BEHIND, AHEAD), (RIGHT, AHEAD), (BEHIND, RIGHT)] {
        check_lease(&at(taker), &at(waiter), &format!("l{taker}{waiter}"), Slew::of(&cluster)).await;
    }
}

/// A value that lives two seconds, set at one frontend and looked at from all.
async fn check_ttl(cluster: &Cluster, setter: usize) {
    const TTL_S: u64 = 2;
    let key = format!("k{setter}");
    let accounts = [RIGHT, AHEAD, BEHIND].map(|frontend| cluster.account_at(frontend, "a"));
    let begun = Instant::now();
    let set = json!({"KVSet": [{"Key": key, "Value": 1, "TTL": TTL_S}]}).to_string();
    let version = accounts[setter].db(set).await.number("Version");
    let watch = json!({"ID": key, "Version": version, "Wait": 60}).to_string();
    let mut watchers = Vec::new();
    for account in &accounts {
        watchers.push(account.begin("watch", &watch).await);
    }
    eventually("the end of the TTL", async || {
        for (at, account) in accounts.iter().enumerate() {
            let shown = account.get(&key).await;
            if shown == (version, Some("1".into())) {
                continue;
            }
            assert_eq!(shown, (0, None));
            // Once it was seen to be gone, it is gone everywhere.
            for account in &accounts {
                assert_eq!(account.get(&key).await, (0, None), "seen gone at {at}");
                assert_eq!(account.list("{}").await.ok(), json!({"KV": []}), "seen gone at {at}");
            }
            return Some(());
        }
        None
    })
    .await;
    let lived = begun.elapsed();
    assert!(lived >= Slew::of(cluster).shortest(TTL_S), "it was gone after {lived:?}");
    assert!(lived < Duration::from_secs(30), "it was gone only after {lived:?}");
    for watcher in watchers {
        assert_eq!(watcher.answer().await.ok(), json!({"Key": key, "Version": 0}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_expire_in_step_whatever_the_frontends_clocks() {
    let cluster = start().await;
    for setter in [AHEAD, BEHIND, RIGHT] {
        check_ttl(&cluster, setter).await;
    }
}
