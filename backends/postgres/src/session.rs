//! Connections, and how each is set up before it is used. Statements live where they are used.

use crate::address::Address;
use crate::schema::LANES;
use dragon_core::hash::fnv1a;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a connection.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a batch waits for its lane's lock, or for a row, while another frontend has it: a frontend that
/// stalls with the lock must not stall the others for longer.
const LANE_LOCK_TIME_MAX: &str = "200ms";
/// How long anything else waits for a lock.
const LOCK_TIME_MAX: &str = "2s";

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where the store lies.
    pub address: Address,
    /// Connections for reading and whatever else is not a commit, at least 2. Commits take one for each of
    /// the 4 lanes, listening and housekeeping one each.
    pub connections: u32,
    /// How long the database may work on one statement.
    pub statement_timeout: Duration,
}

impl StoreOptions {
    /// The default of [`connections`](Self::connections).
    pub const CONNECTIONS_DEFAULT: u32 = 8;
    /// The default of [`statement_timeout`](Self::statement_timeout), in seconds.
    pub const STATEMENT_TIMEOUT_S_DEFAULT: u64 = 10;

    /// The defaults for this address.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let statement_timeout = Duration::from_secs(Self::STATEMENT_TIMEOUT_S_DEFAULT);
        Self { address, connections: Self::CONNECTIONS_DEFAULT, statement_timeout }
    }
}

/// How connections to one store are made.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    options: PgConnectOptions,
    /// A checked name: it can stand in SQL as it is, quoted.
    schema: Arc<str>,
    statement_timeout: Duration,
    connections: u32,
    /// Whether the schema is there, of this program's version.
    is_open: Arc<AtomicBool>,
}

impl Sessions {
    pub(crate) fn new(options: &StoreOptions) -> Self {
        // The one parameter of the driver's own that poolers refuse.
        let connect = options.address.options().clone().extra_float_digits(None);
        Self {
            options: connect,
            schema: options.address.schema().into(),
            statement_timeout: options.statement_timeout,
            connections: options.connections.max(2),
            is_open: Arc::default(),
        }
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The channel on which the frontends of this store tell each other what changed.
    pub(crate) fn channel(&self) -> String {
        format!("dragon_{}", self.schema)
    }

    /// The first half of the names of this store's advisory locks; the second is a lane's number, or
    /// one of those below.
    pub(crate) fn lock_class(&self) -> i32 {
        fnv1a(self.schema.as_bytes()) as u32 as i32
    }

    /// The lock of the frontend that sweeps.
    pub(crate) fn sweeper_lock(&self) -> i32 {
        LANES as i32
    }

    /// How many connections read batches of cells; as many are there for the rest.
    pub(crate) fn readers(&self) -> u32 {
        self.connections / 2
    }

    /// From now on connections may be had.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// A connection before the schema is there.
    pub(crate) async fn connect_to_migrate(&self) -> sqlx::Result<PgConnection> {
        in_time(async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let settings = format!(r#"SET search_path TO "{}"; SET lock_timeout TO '60s'"#, self.schema);
            sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// A connection of a lane's own.
    pub(crate) async fn connect_lane(&self) -> sqlx::Result<PgConnection> {
        self.connect_with(LANE_LOCK_TIME_MAX).await
    }

    /// A connection of one's own.
    pub(crate) async fn connect(&self) -> sqlx::Result<PgConnection> {
        self.connect_with(LOCK_TIME_MAX).await
    }

    async fn connect_with(&self, lock_timeout: &str) -> sqlx::Result<PgConnection> {
        if !self.is_open.load(Ordering::SeqCst) {
            return Err(sqlx::Error::PoolClosed);
        }
        in_time(async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            self.set_up(&mut connection, lock_timeout).await?;
            Ok(connection)
        })
        .await
    }

    /// Connections to share. None is made yet.
    pub(crate) fn pool(&self) -> PgPool {
        let sessions = self.clone();
        pool_options(self.connections - self.readers())
            .after_connect(move |connection, _| {
                let sessions = sessions.clone();
                Box::pin(async move { sessions.set_up(connection, LOCK_TIME_MAX).await })
            })
            .connect_lazy_with(self.options.clone())
    }

    /// The one connection of a listener, which sends nothing that needs a session set up.
    pub(crate) fn listener_pool(&self) -> PgPool {
        pool_options(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(self.options.clone())
    }

    /// `synchronous_commit` is never below `on`, whatever the role's default, or what it is changed to later. A plan that scans a whole
    /// table would make every pair of batches conflict, and the numbers of rows that plans are made for
    /// change from batch to batch. A server that hears nothing from a frontend's machine for half a minute
    /// ends its session, and so its locks.
    async fn set_up(&self, connection: &mut PgConnection, lock_timeout: &str) -> sqlx::Result<()> {
        let settings = format!(
            r#"SET search_path TO "{}";
               SET default_transaction_isolation TO 'read committed';
               SET statement_timeout TO {};
               SET lock_timeout TO '{lock_timeout}';
               SET idle_in_transaction_session_timeout TO '10s';
               SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 5; SET tcp_keepalives_count TO 4;
               SET plan_cache_mode TO 'force_generic_plan';
               SET enable_seqscan TO off; SET enable_hashjoin TO off; SET enable_mergejoin TO off;
               SET enable_material TO off; SET enable_bitmapscan TO off;
               SET jit TO off;
               SELECT set_config('synchronous_commit', CASE
                WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN 'on'
                ELSE current_setting('synchronous_commit') END, false)"#,
            self.schema,
            self.statement_timeout.as_millis(),
        );
        sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *connection).await?;
        // A standby shows what was; and it does not become the primary while a session lasts.
        let standby = sqlx::query_scalar("SELECT pg_is_in_recovery()").persistent(false);
        if standby.fetch_one(connection).await? {
            return Err(sqlx::Error::Protocol("this is a standby, not the primary".into()));
        }
        Ok(())
    }

    /// Whether statements of one session go to different sessions of the database, as a pooler in
    /// transaction mode has it: advisory locks, settings and LISTEN don't work then.
    pub(crate) async fn are_pooled(&self) -> sqlx::Result<bool> {
        const TRIES: usize = 8;
        let pid = "SELECT pg_backend_pid()";
        let (mut one, mut other) = (self.connect_to_migrate().await?, self.connect_to_migrate().await?);
        for _ in 0..TRIES {
            let before: i32 = sqlx::query_scalar(pid).persistent(false).fetch_one(&mut one).await?;
            // The other one holds on to what it gets: to the same session, if the first has let go of it.
            let mut transaction = other.begin().await?;
            let others: i32 = sqlx::query_scalar(pid).persistent(false).fetch_one(&mut *transaction).await?;
            let after: i32 = sqlx::query_scalar(pid).persistent(false).fetch_one(&mut one).await?;
            transaction.rollback().await?;
            if others == before || after != before {
                return Ok(true);
            }
        }
        one.close().await?;
        other.close().await?;
        Ok(false)
    }
}

fn pool_options(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT_TIME_MAX)
}

async fn in_time<T>(connecting: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(CONNECT_TIME_MAX, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
