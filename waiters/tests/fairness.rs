//! Frontends that share a store share its locks: none keeps a lock among its own waiters for long.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod support;

use dragon_core::request::Draft;
use dragon_waiters::Frontend;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::shared_store::SharedStore;
use support::{acquire, is_timeout, lock, submit, take, unlock, until_waiting};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);
/// The longest that a lock stays with a frontend, the pause, and as much again for commits and notices.
const TURN_MAX: Duration = Duration::from_millis(2 * 120);

/// One grant: the contender's place in the order of asking, when it asked, and when it was served.
#[derive(Clone, Copy, Debug)]
struct Grant {
    ticket: usize,
    asked: Instant,
    served: Instant,
}

/// What contenders do besides taking the lock and giving it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    None,
    /// They hold the lock for a while, and stay away for a moment.
    Leisurely,
    /// They renew the lease, and then hold the lock for a while.
    Renewing,
    /// They give idempotency ids, so each asks the store on arrival.
    GivingIds,
}

/// What some contenders of one frontend do, and what they got.
struct Crowd {
    frontend: Frontend,
    habit: Habit,
    stop: Arc<AtomicBool>,
    tickets: Mutex<usize>,
    grants: Mutex<Vec<Grant>>,
}

impl Crowd {
    fn new(store: &SharedStore, habit: Habit) -> Arc<Self> {
        let (frontend, stop) = (store.frontend(), Arc::default());
        Arc::new(Self { frontend, habit, stop, tickets: Mutex::default(), grants: Mutex::default() })
    }

    fn start(self: &Arc<Self>, contenders: usize) -> Vec<JoinHandle<()>> {
        let contend = |crowd: Arc<Self>| async move {
            while !crowd.stop.load(Ordering::SeqCst) {
                let handle = crowd.take().await;
                if crowd.habit == Habit::Renewing {
                    let renewal = Draft { lock_id: Some("L".into()), lock_dur_s: Some(60), ..unlock(handle) };
                    submit(&crowd.frontend, renewal).await.unwrap();
                }
                if matches!(crowd.habit, Habit::Leisurely | Habit::Renewing) {
                    sleep(5 * MS).await;
                }
                submit(&crowd.frontend, unlock(handle)).await.unwrap();
                if crowd.habit == Habit::Leisurely {
                    sleep(2 * MS).await;
                }
            }
        };
        (0..contenders).map(|_| tokio::spawn(contend(Arc::clone(self)))).collect()
    }

    async fn take(&self) -> u64 {
        let asked = Instant::now();
        let ticket = {
            let mut tickets = self.tickets.lock();
            *tickets += 1;
            *tickets
        };
        let ids = if self.habit == Habit::GivingIds { vec![format!("{ticket}")] } else { Vec::new() };
        let handle = acquire(&self.frontend, Draft { idempotency_ids: ids, ..lock(300) }).await.unwrap();
        self.grants.lock().push(Grant { ticket, asked, served: Instant::now() });
        handle
    }

    fn grants(&self) -> usize {
        self.grants.lock().len()
    }

    fn longest_wait(&self) -> Duration {
        self.grants.lock().iter().map(|grant| grant.served - grant.asked).max().unwrap()
    }

    /// The times from one grant to the next.
    fn gaps(&self) -> Vec<Duration> {
        self.grants.lock().windows(2).map(|pair| pair[1].served - pair[0].served).collect()
    }
}

/// Lets crowds contend for some time, and waits until all of them have had enough.
async fn contend(crowds: &[(&Arc<Crowd>, usize)], time: Duration) {
    let tasks: Vec<_> = crowds.iter().flat_map(|(crowd, contenders)| crowd.start(*contenders)).collect();
    sleep(time).await;
    for (crowd, _) in crowds {
        crowd.stop.store(true, Ordering::SeqCst);
    }
    for task in tasks {
        timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    }
}

fn assert_each_gets_a_quarter(crowds: [&Crowd; 2]) {
    let grants = crowds.map(Crowd::grants);
    println!("grants: {grants:?}");
    assert!(grants.iter().all(|own| *own >= grants.iter().sum::<usize>() / 4), "{grants:?}");
}

#[tokio::test(start_paused = true)]
async fn two_frontends_share_a_lock() {
    let store = SharedStore { commit_time: MS, ..SharedStore::new() };
    // The other one hears of changes late, so that it never wins a race.
    let distant = SharedStore { notice_time: 10 * MS, ..store.clone() };
    let crowds = [Crowd::new(&store, Habit::None), Crowd::new(&distant, Habit::None)];
    contend(&[(&crowds[0], 50), (&crowds[1], 50)], Duration::from_secs(2)).await;
    assert_each_gets_a_quarter([&crowds[0], &crowds[1]]);
    for crowd in &crowds {
        let grants = crowd.grants.lock();
        assert!(grants.is_sorted_by_key(|grant| grant.ticket), "first come, first served: {grants:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_frontends_share_a_lock_in_real_time() {
    let store = SharedStore::new();
    let crowds = [Crowd::new(&store, Habit::None), Crowd::new(&store, Habit::None)];
    contend(&[(&crowds[0], 50), (&crowds[1], 50)], Duration::from_secs(3)).await;
    assert_each_gets_a_quarter([&crowds[0], &crowds[1]]);
}

#[tokio::test(start_paused = true)]
async fn one_alone_is_not_starved_by_a_crowd_elsewhere() {
    for (contenders, habit) in [
        (2, Habit::None),
        // Two who take turns like this leave their queue empty each time.
        (2, Habit::Leisurely),
        (2, Habit::Renewing),
        (50, Habit::Renewing),
        (50, Habit::GivingIds),
    ] {
        let store = SharedStore { commit_time: MS, ..SharedStore::new() };
        let distant = SharedStore { notice_time: 10 * MS, ..store.clone() };
        let (crowd, alone) = (Crowd::new(&store, habit), Crowd::new(&distant, Habit::None));
        contend(&[(&crowd, contenders), (&alone, 1)], Duration::from_secs(2)).await;
        let (grants, longest) = ((crowd.grants(), alone.grants()), alone.longest_wait());
        println!("{contenders} contenders, {habit:?}: {grants:?} grants, {longest:?} at most");
        assert!(longest <= TURN_MAX, "{contenders} contenders, {habit:?}: {grants:?}, {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_left_free_only_where_the_store_is_shared() {
    for (is_shared, longest) in [(false, MS..=3 * MS), (true, 20 * MS..=26 * MS)] {
        let store = SharedStore { is_shared, commit_time: MS, ..SharedStore::new() };
        for contenders in [2, 50] {
            let crowd = Crowd::new(&store, Habit::None);
            contend(&[(&crowd, contenders)], Duration::from_secs(1)).await;
            let (grants, gap) = (crowd.grants(), crowd.gaps().into_iter().max().unwrap());
            println!("shared {is_shared}, {contenders} contenders: {grants} grants, gaps {gap:?} at most");
            assert!(longest.contains(&gap), "shared {is_shared}, {contenders} contenders: {gap:?}");

            // One who is left alone hands the lock to nobody, so it soon pauses for nobody.
            crowd.stop.store(false, Ordering::SeqCst);
            crowd.grants.lock().clear();
            contend(&[(&crowd, 1)], Duration::from_secs(1)).await;
            let pauses = crowd.gaps().into_iter().filter(|gap| *gap > 3 * MS).count();
            assert!(pauses <= usize::from(is_shared), "shared {is_shared}, alone: {pauses} pauses");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_served_at_once_wherever_the_lock_was() {
    let store = SharedStore::new();
    let (here, there) = (store.frontend(), store.frontend());
    for waiter in [&here, &there, &here] {
        let handle = take(&here, 0).await.unwrap();
        let own = waiter.clone();
        let waiting = tokio::spawn(async move { take(&own, 60).await.unwrap() });
        sleep(Duration::from_secs(5)).await;
        let released = Instant::now();
        submit(&here, unlock(handle)).await.unwrap();
        let handle = waiting.await.unwrap();
        assert!(released.elapsed() <= 2 * MS, "{:?}", released.elapsed());
        submit(waiter, unlock(handle)).await.unwrap();
        // Free for so long, the lock stays in nobody's hands.
        sleep(20 * MS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_pause_nobody_overtakes_and_who_hangs_up_stops_nobody() {
    let store = SharedStore::new();
    let (here, there) = (store.frontend(), store.frontend());
    let handle = take(&here, 0).await.unwrap();
    let mut waiting = Vec::new();
    for number in 1..=4 {
        let own = here.clone();
        waiting.push(tokio::spawn(async move { take(&own, 60).await.unwrap() }));
        until_waiting(&here, number).await;
    }
    let [first, second, third, fourth] = waiting.try_into().unwrap();
    // A hand-off, and a holder that keeps the lock until the streak is too long.
    submit(&here, unlock(handle)).await.unwrap();
    let handle = first.await.unwrap();
    sleep(150 * MS).await;
    let released = Instant::now();
    submit(&here, unlock(handle)).await.unwrap();
    // The one who is first goes in the middle of the pause; the next one does not start it anew.
    sleep(10 * MS).await;
    second.abort();
    assert!(is_timeout(&take(&here, 0).await.unwrap_err()));
    assert!(!third.is_finished());
    let handle = third.await.unwrap();
    let took = released.elapsed();
    assert!((20 * MS..=25 * MS).contains(&took), "{took:?}");
    // The pause is over: the next hand-off is direct again.
    submit(&here, unlock(handle)).await.unwrap();
    let handle = fourth.await.unwrap();
    assert!(released.elapsed() - took <= 2 * MS, "{:?}", released.elapsed() - took);
    submit(&here, unlock(handle)).await.unwrap();
    take(&there, 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_comes_right_after_a_long_streak_leaves_the_lock_alone_too() {
    let store = SharedStore::new();
    let (here, there) = (store.frontend(), store.frontend());
    let spawn_waiter = || {
        let own = here.clone();
        tokio::spawn(async move { take(&own, 60).await.unwrap() })
    };
    let handle = take(&here, 0).await.unwrap();
    let waiting = spawn_waiter();
    until_waiting(&here, 1).await;
    submit(&here, unlock(handle)).await.unwrap();
    let handle = waiting.await.unwrap();
    sleep(150 * MS).await;
    submit(&here, unlock(handle)).await.unwrap();

    let newcomer = spawn_waiter();
    sleep(10 * MS).await;
    assert!(!newcomer.is_finished());
    let handle = take(&there, 0).await.unwrap();
    sleep(50 * MS).await;
    let released = Instant::now();
    submit(&there, unlock(handle)).await.unwrap();
    newcomer.await.unwrap();
    assert!(released.elapsed() <= 2 * MS, "{:?}", released.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sleeps_for_ever() {
    let store = SharedStore { commit_time: MS, ..SharedStore::new() };
    let frontends = [store.frontend(), store.frontend()];
    let contenders: Vec<_> = (0..40_u32)
        .map(|number| {
            let frontend = frontends[number as usize % 2].clone();
            tokio::spawn(async move {
                for round in 0..10 {
                    // Some hang up before they are served, or in the very moment.
                    let patience = if round % 2 == 0 { 10_000 * MS } else { (number + round) * MS };
                    if let Ok(handle) = timeout(patience, take(&frontend, 300)).await {
                        submit(&frontend, unlock(handle.unwrap())).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for contender in contenders {
        timeout(Duration::from_secs(60), contender).await.unwrap().unwrap();
    }
    let handle = timeout(Duration::from_secs(10), take(&frontends[0], 10)).await.unwrap().unwrap();
    submit(&frontends[0], unlock(handle)).await.unwrap();
}
