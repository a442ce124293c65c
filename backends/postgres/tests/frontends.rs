//! Several frontends over one store.

use dragon_contract::conformance::counting::{add_one, counter, increment, stored, sweep_marks_the_account};
use dragon_contract::{Backend as _, lane_of};
use dragon_core::hash::fnv1a;
use dragon_postgres::{PostgresMetrics, PostgresStore, StoreOptions};
use dragon_private_postgres::{fresh_schema, shared_address, shared_url};
use futures_util::FutureExt as _;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

async fn open(schema: &str) -> PostgresStore {
    PostgresStore::connect(&shared_address(schema).parse().expect("an address"))
        .await
        .expect("the store opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_start_at_once_and_count_together() {
    const FRONTENDS: usize = 4;
    const ADDITIONS: usize = 50;
    let schema = fresh_schema();
    let counting = (0..FRONTENDS).map(|_| {
        let schema = schema.clone();
        tokio::spawn(async move {
            let store = open(&schema).await;
            let mut values = Vec::new();
            for _ in 0..ADDITIONS {
                values.push(add_one(&store).await.expect("it counts"));
            }
            store.close().await;
            values
        })
    });
    let mut values = Vec::new();
    for counting in counting.collect::<Vec<_>>() {
        values.extend(counting.await.expect("a frontend is well"));
    }
    values.sort_unstable();
    assert!(values.into_iter().eq(1..=(FRONTENDS * ADDITIONS) as i64));
    let mut connection = PgConnection::connect(&shared_url()).await.expect("a connection");
    let left = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {schema}.frontend"));
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut connection).await.expect("a count");
    assert_eq!(left, 0, "who closes leaves no row behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_frontend_wakes() {
    let schema = fresh_schema();
    let (here, there) = (open(&schema).await, open(&schema).await);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (_, seen) = stored(&here).await;
        let waiting = {
            let here = here.clone();
            tokio::spawn(async move { here.changed(&counter(), seen).await })
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        add_one(&there).await.expect("it counts");
        let begun = tokio::time::Instant::now();
        waiting.await.expect("the waiter is well").expect("woken");
        waits.push(begun.elapsed());
        assert!(stored(&here).await.1 > seen);
    }
    waits.sort_unstable();
    assert!(waits[10] < Duration::from_millis(200), "notified, not found by the regular look: {waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_told_of_is_found() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    add_one(&store).await.expect("it counts");
    let (_, seen) = stored(&store).await;
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.changed(&counter(), seen).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut connection = PgConnection::connect(&shared_url()).await.expect("a connection");
    // As another frontend would that dies before it tells: the counter is gone, the account's revision raised.
    let account = dragon_core::cell::Cell::meta(&counter().account());
    let meta = dragon_core::layout::Meta { revision: seen + 1, ..Default::default() };
    let change = format!(
        "WITH deleted AS (DELETE FROM {schema}.cell WHERE name = $1) \
         UPDATE {schema}.cell SET content = $3 WHERE name = $2"
    );
    let change = sqlx::query(sqlx::AssertSqlSafe(change))
        .bind(counter().as_bytes().to_vec())
        .bind(account.as_bytes().to_vec())
        .bind(dragon_core::layout::write_meta(meta).to_vec());
    assert_eq!(change.execute(&mut connection).await.expect("changed").rows_affected(), 1);
    let woken = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("in time");
    woken.expect("the waiter is well").expect("woken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_takes_nothing() {
    let store = open(&fresh_schema()).await;
    let last = store.commit(increment());
    store.close().await;
    last.await.expect("what was under way is finished");
    let refused = add_one(&store).await;
    assert!(matches!(refused, Err(dragon_contract::BackendError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_row_that_was_swept_is_made_anew() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    let mut connection = PgConnection::connect(&shared_url()).await.expect("a connection");
    for counted in 1..4 {
        assert_eq!(add_one(&store).await.expect("it counts"), counted);
        let sweep = sqlx::AssertSqlSafe(format!("DELETE FROM {schema}.batch"));
        sqlx::query(sweep).execute(&mut connection).await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_marks_the_accounts() {
    let store = open(&fresh_schema()).await;
    sweep_marks_the_account(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_that_holds_back_vacuum_shows() {
    let mut connection = PgConnection::connect(&shared_url()).await.expect("a connection");
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    sqlx::raw_sql(begin).execute(&mut connection).await.expect("a snapshot");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (mut registry, metrics) = (Registry::default(), PostgresMetrics::default());
    metrics.register(&mut registry);
    let address = shared_address(&fresh_schema()).parse().expect("an address");
    let store = PostgresStore::open(&StoreOptions::new(address), metrics);
    store.opened().await.expect("the store opens");
    let mut shown = String::new();
    encode(&mut shown, &registry).expect("text");
    let seconds =
        shown.lines().find_map(|line| line.strip_prefix("dragon_postgres_oldest_snapshot_seconds "));
    let seconds: f64 = seconds.expect("it is shown").parse().expect("a number");
    assert!((1.5..600.0).contains(&seconds), "{seconds}");
}

/// The advisory locks of the counter's lane that sessions hold.
async fn locks_held(connection: &mut PgConnection, schema: &str) -> i64 {
    const HELD: &str = "SELECT count(*) FROM pg_locks \
        WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objid = $2::oid";
    let class = i64::from(fnv1a(schema.as_bytes()) as u32);
    let lane = lane_of(counter().account_name(), 4) as i64;
    let held = sqlx::query_scalar(HELD).bind(class).bind(lane as i32);
    held.fetch_one(connection).await.expect("a count")
}

/// Has the store wait for its lane's lock, so that it knows of others in its way.
async fn get_in_the_way(connection: &mut PgConnection, schema: &str, store: &PostgresStore, lane: usize) {
    let class = fnv1a(schema.as_bytes()) as u32 as i32;
    let lock = "SELECT pg_advisory_lock($1, $2)";
    sqlx::query(lock).bind(class).bind(lane as i32).execute(&mut *connection).await.expect("locked");
    let adding = {
        let store = store.clone();
        tokio::spawn(async move { add_one(&store).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!adding.is_finished());
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(connection).await.expect("unlocked");
    adding.await.expect("it is well").expect("it counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_ends_with_its_batch_or_when_it_is_not_needed() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    let mut connection = PgConnection::connect(&shared_url()).await.expect("a connection");
    add_one(&store).await.expect("it counts");
    let lane = lane_of(counter().account_name(), store.lanes());
    // Nobody is in the way: no lock is taken ahead.
    store.turn(lane).await;
    assert_eq!(locks_held(&mut connection, &schema).await, 0);

    get_in_the_way(&mut connection, &schema, &store, lane).await;
    store.turn(lane).await;
    assert_eq!(locks_held(&mut connection, &schema).await, 1);
    add_one(&store).await.expect("it counts");
    assert_eq!(locks_held(&mut connection, &schema).await, 0, "committed");

    get_in_the_way(&mut connection, &schema, &store, lane).await;
    store.turn(lane).await;
    assert_eq!(locks_held(&mut connection, &schema).await, 1);
    store.pass(lane);
    until_unlocked(&mut connection, &schema).await;

    get_in_the_way(&mut connection, &schema, &store, lane).await;
    assert!(store.turn(lane).now_or_never().is_none(), "given up while it is waited for");
    tokio::time::sleep(Duration::from_millis(50)).await;
    until_unlocked(&mut connection, &schema).await;
    assert_eq!(add_one(&store).await.expect("it counts"), 6);
}

async fn until_unlocked(connection: &mut PgConnection, schema: &str) {
    for _ in 0..100 {
        if locks_held(connection, schema).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the lock is not given back");
}
