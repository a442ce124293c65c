//! A database whose connections break and which crashes: nothing is applied twice, nothing that was
//! answered is lost. Each test has a server of its own, which it may kill.

use dragon_contract::conformance::counting::{add_one, counter, stored};
use dragon_contract::{Backend as _, BackendError};
use dragon_postgres::PostgresStore;
use dragon_private_postgres::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const SCHEMA: &str = "dragon";

async fn open(server: &Server) -> PostgresStore {
    PostgresStore::connect(&server.address(SCHEMA).parse().expect("an address"))
        .await
        .expect("the store opens")
}

/// Crashes the server without blocking the tests' runtime.
async fn crash(server: &Arc<Server>) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || server.crash()).await.expect("it comes back");
}

#[derive(Debug, Default)]
struct Counted {
    values: Vec<i64>,
    not_applied: i64,
    unknown: i64,
}

/// Counts until it is told to stop.
fn count(store: PostgresStore, stop: Arc<AtomicBool>) -> JoinHandle<Counted> {
    tokio::spawn(async move {
        let mut counted = Counted::default();
        while !stop.load(Ordering::SeqCst) {
            match add_one(&store).await {
                Ok(value) => counted.values.push(value),
                Err(BackendError::OutcomeUnknown(_)) => counted.unknown += 1,
                Err(BackendError::Busy(_) | BackendError::Unavailable(_)) => {
                    counted.not_applied += 1;
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        counted
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_counts_twice_and_nothing_is_lost() {
    let server = Arc::new(Server::start());
    let stores = [open(&server).await, open(&server).await];
    let stop = Arc::new(AtomicBool::new(false));
    let counting: Vec<_> = (0..8).map(|at| count(stores[at % 2].clone(), Arc::clone(&stop))).collect();
    for round in 0..120_u64 {
        sleep(Duration::from_millis(5 + round * 37 % 60)).await;
        match round % 30 {
            29 => crash(&server).await,
            _ => server.kill_connections().await,
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = Counted::default();
    for counted in counting {
        let counted = timeout(Duration::from_secs(60), counted).await.expect("in time").expect("well");
        all.values.extend(counted.values);
        all.not_applied += counted.not_applied;
        all.unknown += counted.unknown;
    }
    let (acknowledged, unknown) = (all.values.len() as i64, all.unknown);
    let (sum, _) = stored(&stores[0]).await;
    println!("{acknowledged} acknowledged, {} not applied, {unknown} unknown, sum {sum}", all.not_applied);
    assert!((acknowledged..=acknowledged + unknown).contains(&sum), "{acknowledged} + {unknown}: {sum}");
    assert!(acknowledged > 100, "the load is of use");
    all.values.sort_unstable();
    all.values.dedup();
    assert_eq!(all.values.len() as i64, acknowledged, "a value was given out twice");
}

/// Lets every COMMIT wait, after it has happened, for a standby that there is not; or no more.
async fn hold_commits(server: &Server, held: bool) {
    let setting = match held {
        true => "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        false => "ALTER SYSTEM RESET synchronous_standby_names",
    };
    server.execute(setting).await;
    server.execute("SELECT pg_reload_conf()").await;
    sleep(Duration::from_millis(300)).await;
}

fn add_one_beside(store: &PostgresStore) -> JoinHandle<dragon_contract::Result<i64>> {
    let store = store.clone();
    tokio::spawn(async move { add_one(&store).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_broke_after_it_happened_is_told_as_such() {
    let server = Server::start();
    let store = open(&server).await;
    assert_eq!(add_one(&store).await.expect("it counts"), 1);
    hold_commits(&server, true).await;
    let adding = add_one_beside(&store);
    sleep(Duration::from_millis(300)).await;
    assert!(!adding.is_finished());
    server.kill_connections().await;
    hold_commits(&server, false).await;
    assert_eq!(adding.await.expect("well").expect("it has happened"), 2);
    assert_eq!(add_one(&store).await.expect("it counts"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_under_way_is_waited_for() {
    let server = Server::start();
    let store = open(&server).await;
    assert_eq!(add_one(&store).await.expect("it counts"), 1);
    hold_commits(&server, true).await;
    let adding = add_one_beside(&store);
    // Longer than the store waits for the answer: it asks on another connection by now.
    sleep(Duration::from_secs(8)).await;
    assert!(!adding.is_finished());
    hold_commits(&server, false).await;
    assert_eq!(adding.await.expect("well").expect("it has happened"), 2);
    assert_eq!(stored(&store).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_settled_is_unknown() {
    let server = Server::start();
    let store = open(&server).await;
    assert_eq!(add_one(&store).await.expect("it counts"), 1);
    hold_commits(&server, true).await;
    let refused = add_one(&store).await;
    assert!(matches!(refused, Err(BackendError::OutcomeUnknown(_))), "{refused:?}");
    hold_commits(&server, false).await;
    // What is unknown to the client has in truth happened.
    assert_eq!(add_one(&store).await.expect("it counts"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_woken_after_a_crash() {
    let server = Arc::new(Server::start());
    let (here, there) = (open(&server).await, open(&server).await);
    add_one(&there).await.expect("it counts");
    let (_, seen) = stored(&here).await;
    let waiting = tokio::spawn(async move {
        loop {
            // It may wake for nothing, and not be able to look.
            let woken = here.changed(&counter(), seen).await;
            if woken.is_ok() && stored(&here).await.1 != seen {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    sleep(Duration::from_millis(100)).await;
    crash(&server).await;
    add_one(&there).await.expect("it counts again at once");
    timeout(Duration::from_secs(10), waiting).await.expect("in time").expect("well");
}
