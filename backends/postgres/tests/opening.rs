//! Opening a store: a database that is not there yet, schemas of other versions, many who start at once.

use dragon_contract::conformance::counting::add_one;
use dragon_contract::{Backend as _, BackendError};
use dragon_postgres::{ConnectError, PostgresMetrics, PostgresStore, StoreOptions};
use dragon_private_postgres::{Server, fresh_schema, shared_address};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn open(address: &str) -> PostgresStore {
    PostgresStore::open(&StoreOptions::new(address.parse().expect("an address")), PostgresMetrics::default())
}

async fn refusal(address: &str) -> String {
    let refused = timeout(Duration::from_secs(30), open(address).opened()).await.expect("in time");
    refused.expect_err("it can't be opened").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_may_come_later_and_go_for_a_while() {
    let server = Server::start();
    let address = server.address("dragon");
    tokio::task::block_in_place(|| server.stop());
    let store = open(&address);
    assert!(timeout(Duration::from_millis(500), store.opened()).await.is_err(), "it waits");
    assert!(matches!(store.health().await, Err(BackendError::Unavailable(_))));
    assert!(matches!(add_one(&store).await, Err(BackendError::Unavailable(_))));

    tokio::task::block_in_place(|| server.start_again());
    timeout(Duration::from_secs(20), store.opened()).await.expect("in time").expect("it opens");
    assert!(store.health().await.is_ok());
    assert_eq!(add_one(&store).await.expect("it counts"), 1);

    tokio::task::block_in_place(|| server.stop());
    assert!(store.health().await.is_err(), "it tells the truth");
    let adding = tokio::spawn({
        let store = store.clone();
        async move { add_one(&store).await }
    });
    sleep(Duration::from_millis(500)).await;
    tokio::task::block_in_place(|| server.start_again());
    assert_eq!(adding.await.expect("well").expect("an outage of a second is waited for"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_start_at_once_and_twice_is_as_good_as_once() {
    let address = shared_address(&fresh_schema());
    for _ in 0..2 {
        let opening: Vec<_> = (0..10).map(|_| open(&address)).collect();
        for store in opening {
            store.opened().await.expect("it opens");
            add_one(&store).await.expect("it counts");
            store.close().await;
        }
    }
    let store = open(&address);
    store.opened().await.expect("it opens");
    assert_eq!(add_one(&store).await.expect("it counts"), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waiting_does_not_mend_is_told() {
    let server = Server::start_with_tcp("");
    let store = open(&server.address("newer"));
    store.opened().await.expect("it opens");
    store.close().await;
    let mut connection = PgConnection::connect(&server.url()).await.expect("a connection");
    const NEWER: &str = "INSERT INTO newer._sqlx_migrations \
        SELECT 999, 'later', now(), true, 'x'::bytea, 0; CREATE ROLE other LOGIN";
    sqlx::raw_sql(NEWER).execute(&mut connection).await.expect("prepared");
    let refused = refusal(&server.address("newer")).await;
    assert!(refused.contains("newer version of this program"), "{refused}");
    let none = server.address("dragon").replacen("/postgres", "/nowhere", 1);
    let refused = refusal(&none).await;
    assert!(refused.contains("nowhere"), "{refused}");
    let other = server.address("mine").replacen("postgres@", "other@", 1);
    let refused = refusal(&other).await;
    assert!(refused.contains("permission denied"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_schema_is_touched() {
    const THINGS: &str = "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace \
        ON relnamespace = pg_namespace.oid WHERE nspname NOT IN ('pg_toast', $1) \
        UNION ALL SELECT nspname || '.' || proname FROM pg_proc JOIN pg_namespace \
        ON pronamespace = pg_namespace.oid WHERE nspname <> $1 \
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname <> $1 ORDER BY 1";
    let server = Server::start();
    let mut connection = PgConnection::connect(&server.url()).await.expect("a connection");
    let things = async |connection: &mut PgConnection| -> Vec<String> {
        sqlx::query_scalar(THINGS).bind("dragon").fetch_all(connection).await.expect("things")
    };
    let before = things(&mut connection).await;
    let store = open(&server.address("dragon"));
    store.opened().await.expect("it opens");
    add_one(&store).await.expect("it counts");
    store.sweep(100).await.expect("it sweeps");
    assert_eq!(things(&mut connection).await, before);
    let count = AssertSqlSafe("SELECT count(*) FROM dragon.cell");
    assert!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await.expect("a count") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_owns_the_schema_suffices() {
    let server = Server::start();
    let mut connection = PgConnection::connect(&server.url()).await.expect("a connection");
    const PREPARE: &str = "REVOKE CREATE ON DATABASE postgres FROM public; \
        CREATE ROLE app LOGIN; CREATE SCHEMA mine AUTHORIZATION app";
    sqlx::raw_sql(PREPARE).execute(&mut connection).await.expect("prepared");
    let store = open(&server.address("mine").replacen("postgres@", "app@", 1));
    store.opened().await.expect("it opens");
    assert_eq!(add_one(&store).await.expect("it counts"), 1);
    let refused = open(&server.address("other").replacen("postgres@", "app@", 1)).opened().await;
    let refused = refused.expect_err("it may not make a schema");
    assert!(matches!(*refused, ConnectError::Database(_)), "{refused:?}");
}
