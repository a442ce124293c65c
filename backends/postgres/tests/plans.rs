//! Every statement goes by an index, on small tables and on large ones: a plan that reads a whole table
//! makes each pair of batches conflict. The server explains each plan that it runs into its log.

use dragon_contract::Backend as _;
use dragon_contract::conformance::counting::{add_one, counter, stored};
use dragon_core::cell::{Account, Kind};
use dragon_core::limits::Limits;
use dragon_core::page::Query;
use dragon_postgres::PostgresStore;
use dragon_private_postgres::Server;
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

/// The first statements are on empty tables, so their plans are made, and kept, for such.
const EXPLAIN: &str = "
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = off
";
const ROWS: &str = "INSERT INTO dragon.cell SELECT lane, convert_to('other' || lane || '-' || i, 'UTF8') \
    || '\\x000161'::bytea, '\\x0100000000000000010000000000000000'::bytea \
    FROM generate_series(0, 3) AS lane, generate_series(1, 5000) AS i";

async fn use_everything(store: &PostgresStore) {
    for _ in 0..8 {
        add_one(store).await.expect("it counts");
    }
    let (_, seen) = stored(store).await;
    // The news of the last write may still come, and wakes for nothing.
    let counter = counter();
    while tokio::time::timeout(Duration::from_millis(1_200), store.changed(&counter, seen)).await.is_ok() {}
    let account = Account::new("a").expect("an account");
    let query = Query::new(account, Kind::Counter, String::new(), String::new(), None, &Limits::default());
    store.scan(&query.expect("a query")).await.expect("a page");
    store.accounts(None, 3).await.expect("accounts");
    store.sweep(100).await.expect("it sweeps");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_goes_by_an_index() {
    let server = Server::start_with(EXPLAIN);
    let address = server.address("dragon").parse().expect("an address");
    let store = PostgresStore::connect(&address).await.expect("the store opens");
    use_everything(&store).await;
    let mut connection = PgConnection::connect(&server.url()).await.expect("a connection");
    sqlx::raw_sql(ROWS).execute(&mut connection).await.expect("rows");
    sqlx::raw_sql("ANALYZE dragon.cell").execute(&mut connection).await.expect("analyzed");
    use_everything(&store).await;
    // Plans that are made anew, with the statistics of large tables.
    let another = PostgresStore::connect(&address).await.expect("the store opens");
    use_everything(&another).await;

    let log = std::fs::read_to_string(server.folder().join("log")).expect("the log");
    let lines: Vec<&str> = log.lines().map(str::trim).collect();
    let mut scans = 0;
    for (at, line) in lines.iter().enumerate() {
        assert!(!line.contains("Materialize"), "{line}");
        // Of the plans: an index condition by the name stands below each scan of cells.
        if line.contains(" on cell") && line.contains("Scan") {
            let by_index =
                line.contains("Index Scan using cell") || line.contains("Index Only Scan using cell");
            let condition = lines.get(at + 1).copied().unwrap_or_default();
            let by_name = condition.contains("name = ") || condition.contains("name >= ");
            let by_time = line.contains("sweep_at_ms") && condition.contains("sweep_at_ms <= ");
            assert!(by_index && (by_name || by_time), "{line}\n{condition}");
            scans += 1;
        }
    }
    assert!(scans > 100, "plans are logged: {log}");
    const SCANS: &str = "SELECT sum(seq_scan)::bigint, sum(idx_scan)::bigint FROM pg_stat_user_tables \
        WHERE relname LIKE 'batch%'";
    let (_, by_index): (i64, i64) = sqlx::query_as(SCANS).fetch_one(&mut connection).await.expect("counts");
    assert!(by_index > 0, "batch rows are found by their index");
}
