//! Several frontends over one store.

mod requests;

use dragon_contract::Backend as _;
use dragon_postgres::PostgresStore;
use dragon_private_postgres::{fresh_schema, shared_address, shared_url};
use requests::{add_one, counter, stored};
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
    let meta = dragon_core::layout::Meta { revision: seen + 1, mark_ms: 0 };
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
    let last = store.commit(requests::increment());
    store.close().await;
    last.await.expect("what was under way is finished");
    let refused = add_one(&store).await;
    assert!(matches!(refused, Err(dragon_contract::BackendError::Unavailable(_))), "{refused:?}");
}
