//! The schema, and how a connection is set up before it is used. Statements that touch cells live in
//! `rows`.

use crate::address::Address;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a connection.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections for everything but the commits and the listening.
const POOL_CONNECTIONS_MAX: u32 = 8;

/// How to reach one store's schema.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    options: PgConnectOptions,
    /// A checked name: it can stand in SQL as it is, quoted.
    schema: Arc<str>,
}

impl Sessions {
    pub(crate) fn new(address: &Address) -> Self {
        Self { options: address.options().clone(), schema: address.schema().into() }
    }

    /// The channel on which the frontends of this store tell each other what changed.
    pub(crate) fn channel(&self) -> String {
        format!("dragon_{}", self.schema)
    }

    /// A connection of one's own.
    pub(crate) async fn connect(&self) -> sqlx::Result<PgConnection> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            self.set_up(&mut connection).await?;
            Ok(connection)
        };
        tokio::time::timeout(CONNECT_TIME_MAX, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Connections to share. None is made yet.
    pub(crate) fn pool(&self) -> PgPool {
        let address = self.clone();
        self.pool_options(POOL_CONNECTIONS_MAX)
            .after_connect(move |connection, _| {
                let address = address.clone();
                Box::pin(async move { address.set_up(connection).await })
            })
            .connect_lazy_with(self.options.clone())
    }

    /// The one connection of a listener, which sends nothing that needs a session set up.
    pub(crate) fn listener_pool(&self) -> PgPool {
        self.pool_options(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(self.options.clone())
    }

    fn pool_options(&self, connections: u32) -> PgPoolOptions {
        PgPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT_TIME_MAX)
    }

    /// `synchronous_commit` is never below `on`, whatever the role's default; a frontend that stalls
    /// inside a transaction lets go of its rows; a plan that scans the whole table would make every
    /// pair of batches conflict.
    async fn set_up(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let settings = format!(
            r#"SET search_path TO "{}";
               SET default_transaction_isolation TO 'read committed';
               SET idle_in_transaction_session_timeout TO '10s';
               SET lock_timeout TO '2s';
               SET enable_seqscan TO off;
               SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"#,
            self.schema
        );
        sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
        Ok(())
    }

    /// Makes the schema and its tables, unless they are there. Many frontends may do so at once.
    pub(crate) async fn create(&self) -> sqlx::Result<()> {
        let mut connection = self.connect().await?;
        let table = format!(r#""{}".frontend"#, self.schema);
        let found = "SELECT to_regclass($1) IS NOT NULL, to_regnamespace($2) IS NOT NULL";
        let found = sqlx::query_as(found).bind(table).bind(format!(r#""{}""#, self.schema));
        // The right to make schemas is needed only where the schema is not there.
        let create_schema = match found.fetch_one(&mut connection).await? {
            (true, _) => return Ok(()),
            (false, true) => String::new(),
            (false, false) => format!(r#"CREATE SCHEMA IF NOT EXISTS "{}";"#, self.schema),
        };
        // One transaction: the lock is free when the tables can be seen. Others wait for it longer
        // than for a row.
        let script = format!(
            r#"BEGIN;
               SET LOCAL lock_timeout TO '60s';
               SELECT pg_advisory_xact_lock({});
               {create_schema}
               CREATE TABLE IF NOT EXISTS "{schema}".cell (
                   name bytea PRIMARY KEY, row bytea NOT NULL, sweep_at_ms bigint);
               CREATE INDEX IF NOT EXISTS cell_sweep_at_ms ON "{schema}".cell (sweep_at_ms)
                   WHERE sweep_at_ms IS NOT NULL;
               CREATE TABLE IF NOT EXISTS "{schema}".frontend (
                   id uuid PRIMARY KEY, sequence bigint NOT NULL) WITH (fillfactor = 50);
               COMMIT"#,
            dragon_core::hash::fnv1a(self.schema.as_bytes()).cast_signed(),
            schema = self.schema
        );
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await?;
        connection.close().await
    }
}
