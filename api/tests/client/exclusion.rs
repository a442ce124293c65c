//! Nobody believes to hold a lock while another does, whatever the network and the server do.

use crate::place::{Place, account_at, seconds};
use crate::proxy::Proxy;
use crate::support::eventually;
use dragon_client::Account;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 4;
const ROUNDS: u32 = 6;

/// When a holder believed to hold the lock: first and last.
type Belief = (Instant, Instant);

/// Takes the lock and holds it for a while, again and again. All clients have the same clock, so their beliefs compare.
async fn hold_and_release(number: usize, account: Account, stop: Arc<AtomicBool>) -> Vec<Belief> {
    let mut beliefs = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let lock = account.lock("l").owner(number.to_string()).lease(seconds(1)).wait(seconds(5));
        let Ok(guard) = lock.acquire().await else { continue };
        let first = Instant::now();
        if !guard.is_held() {
            continue;
        }
        let mut last = first;
        // Every second time until it is lost or long after the first lease.
        let hold = Duration::from_millis(if beliefs.len() % 2 == 0 { 30 } else { 3_000 });
        while first.elapsed() < hold {
            let now = Instant::now();
            if !guard.is_held() {
                break;
            }
            last = now;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        beliefs.push((first, last));
        if beliefs.len() % 3 == 0 {
            drop(guard);
        } else {
            drop(guard.release().await);
        }
    }
    beliefs
}

/// The proxy of the client that has the lock at this moment.
async fn holders<'a>(place: &Place, proxies: &'a [Proxy]) -> &'a Proxy {
    let raw = place.raw();
    let owner = eventually("a holder", || raw.held_lock("l")).await["Owner"].as_str().unwrap().to_owned();
    &proxies[owner.parse::<usize>().unwrap()]
}

async fn make_trouble(place: &Place, proxies: &[Proxy]) {
    for round in 0..ROUNDS {
        for proxy in proxies {
            proxy.lose_answers(1);
            proxy.delay_answers(Duration::from_millis(50 * u64::from(round % 4)));
        }
        // The holder is cut off for longer than its lease, and the next one has the lock as soon as it may.
        let holder = holders(place, proxies).await;
        holder.swallow_requests(true);
        tokio::time::sleep(Duration::from_millis(1_600)).await;
        holder.swallow_requests(false);
        holder.cut();
        proxies[round as usize % CLIENTS].orphan();
        // The server stands still for less than a lease, and for more, in turn.
        place.server.signal("STOP");
        tokio::time::sleep(Duration::from_millis(400 + 800 * u64::from(round % 2))).await;
        place.server.signal("CONT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_believe_to_hold_the_lock_at_a_time() {
    let place = Place::start();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut clients, mut proxies) = (JoinSet::new(), Vec::new());
    for number in 0..CLIENTS {
        let proxy = Proxy::start(place.server.address()).await;
        clients.spawn(hold_and_release(number, account_at(proxy.address()), Arc::clone(&stop)));
        proxies.push(proxy);
    }
    make_trouble(&place, &proxies).await;
    stop.store(true, Ordering::SeqCst);
    let mut beliefs = clients.join_all().await.concat();
    beliefs.sort_unstable();
    println!("the lock was held {} times", beliefs.len());
    assert!(beliefs.len() > CLIENTS);
    for pair in beliefs.windows(2) {
        assert!(pair[0].1 < pair[1].0, "{pair:?}");
    }
}
