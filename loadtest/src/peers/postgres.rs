//! Postgres through `tokio-postgres`: tables as one would make them by hand, prepared statements, each
//! unit one statement that is a transaction of its own, one connection a worker.
//!
//! `tokio-postgres` and not sqlx, which the server itself uses: it does less for a statement, and a peer
//! has to be as fast as it can.

use crate::database;
use crate::peers::client::{Client, Mixed, Peer, Seen};
use crate::peers::watch::Notices;
use crate::process::{Process, Start};
use anyhow::{Context as _, Result, bail, ensure};
use std::rc::Rc;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Config, NoTls, Row, Statement};

const TABLES: &str = r#"
CREATE TABLE kv (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, version bigint NOT NULL);
CREATE TABLE counters (key text COLLATE "C" PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE locks (name text COLLATE "C" PRIMARY KEY, owner integer NOT NULL, till timestamptz NOT NULL);
"#;
const PUT: &str = "INSERT INTO kv VALUES ($1, $2, 1)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = kv.version + 1";
const FILL: &str = "INSERT INTO kv SELECT unnest($1::text[]), $2, 1";
const GET: &str = "SELECT value, version FROM kv WHERE key = $1";
/// The usual case of a counter, and what makes one.
const ADD: &str = "UPDATE counters SET value = value + 1 WHERE key = $1 RETURNING value";
const ADD_FIRST: &str = "INSERT INTO counters VALUES ($1, 1)
ON CONFLICT (key) DO UPDATE SET value = counters.value + 1 RETURNING value";
const SUM: &str = "SELECT value FROM counters WHERE key = $1";
const SWAP: &str = "UPDATE kv SET value = $3, version = version + 1 WHERE key = $1 AND version = $2";
const SWAP_FIRST: &str = "INSERT INTO kv VALUES ($1, $2, 1) ON CONFLICT (key) DO NOTHING";
/// All in one statement and so in one round trip: nothing is written where it can't have the locks.
const MIXED: &str = "
WITH released AS (
    DELETE FROM locks WHERE name = $5 AND owner = pg_backend_pid() RETURNING 1
), lock AS (
    INSERT INTO locks SELECT $1, pg_backend_pid(), now() + interval '60 s'
    WHERE $6 OR EXISTS (SELECT 1 FROM released)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, till = excluded.till WHERE locks.till < now()
    RETURNING 1
), written AS (
    INSERT INTO kv SELECT key, $3, 1 FROM unnest($2::text[]) AS key, lock
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = kv.version + 1 RETURNING 1
), counted AS (
    INSERT INTO counters SELECT key, 1 FROM unnest($4::text[]) AS key, lock
    ON CONFLICT (key) DO UPDATE SET value = counters.value + 1 RETURNING value
)
SELECT (SELECT count(*) FROM written), count(*), min(value), max(value) FROM counted";
const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended($1, 0))";
const PUBLISH: &str = "
WITH written AS (
    INSERT INTO kv SELECT key, $2, 1 FROM unnest($1::text[]) AS key
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = kv.version + 1 RETURNING key
)
SELECT pg_notify(key, convert_from($2, 'UTF8')) FROM written";

/// As many workers as leave it some connections for the rest.
pub const CONNECTIONS_MAX: usize = database::CONNECTIONS_MAX - 20;

/// A server.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
}

impl Postgres {
    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(self.process.address.ip().to_string()).port(self.process.address.port());
        config.user("postgres").dbname("postgres");
        config
    }

    async fn client(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) = self.config().connect(NoTls).await?;
        tokio::task::spawn_local(async move {
            // Whoever uses the client learns of it.
            drop(connection.await);
        });
        Ok(client)
    }
}

impl Peer for Postgres {
    const PROGRAMS: &[&str] = &["initdb", "postgres"];
    const PACKAGE: &str = "postgresql";
    type Client = Connection;

    async fn start(start: &Start) -> Result<Self> {
        let postgres = Self { process: database::start(start)? };
        postgres.client().await?.batch_execute(TABLES).await?;
        Ok(postgres)
    }

    fn process(&self) -> &Process {
        &self.process
    }

    async fn connect(&self, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::new(self.client().await?).await?);
        }
        Ok(connections)
    }

    async fn watch(
        &self,
        keys: &[String],
        watchers: usize,
        notices: &Rc<Notices>,
    ) -> Result<JoinSet<Result<()>>> {
        let mut tasks = JoinSet::new();
        let mut clients = Vec::with_capacity(watchers);
        for key in keys.iter().cycle().take(watchers) {
            let (client, mut connection) = self.config().connect(NoTls).await?;
            let (notices, watched) = (Rc::clone(notices), key.clone());
            tasks.spawn_local(async move {
                while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(told) = message? {
                        ensure!(told.channel() == watched, "told of another key than {watched}");
                        notices.note(told.payload().as_bytes())?;
                    }
                }
                bail!("the connection of a listener broke")
            });
            client.batch_execute(&format!("LISTEN \"{key}\"")).await?;
            clients.push(client);
        }
        // A connection ends with its client.
        tasks.spawn_local(async move {
            std::future::pending::<()>().await;
            drop(clients);
            Ok(())
        });
        Ok(tasks)
    }
}

/// A worker's connection.
pub struct Connection {
    client: tokio_postgres::Client,
    put: Statement,
    fill: Statement,
    get: Statement,
    add: Statement,
    add_first: Statement,
    sum: Statement,
    swap: Statement,
    swap_first: Statement,
    mixed: Statement,
    lock: Statement,
    unlock: Statement,
    publish: Statement,
}

impl Connection {
    async fn new(client: tokio_postgres::Client) -> Result<Self> {
        let prepare = async |sql: &str| client.prepare(sql).await.with_context(|| sql.to_owned());
        Ok(Self {
            put: prepare(PUT).await?,
            fill: prepare(FILL).await?,
            get: prepare(GET).await?,
            add: prepare(ADD).await?,
            add_first: prepare(ADD_FIRST).await?,
            sum: prepare(SUM).await?,
            swap: prepare(SWAP).await?,
            swap_first: prepare(SWAP_FIRST).await?,
            mixed: prepare(MIXED).await?,
            lock: prepare(LOCK).await?,
            unlock: prepare(UNLOCK).await?,
            publish: prepare(PUBLISH).await?,
            client,
        })
    }

    async fn number(&self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<u64>> {
        let row = self.client.query_opt(statement, parameters).await?;
        row.map(|row| Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)).transpose()
    }
}

/// A value as it lies in its row.
pub struct Held(Row);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.try_get(0).unwrap_or_default()
    }
}

impl Client for Connection {
    type Value = Held;

    async fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let written = self.client.execute(&self.put, &[&key, &value]).await?;
        ensure!(written == 1, "{written} rows of {key} were written");
        Ok(())
    }

    async fn fill(&mut self, keys: &[String], value: &[u8]) -> Result<()> {
        self.client.execute(&self.fill, &[&keys, &value]).await?;
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<Option<Held>> {
        Ok(self.client.query_opt(&self.get, &[&key]).await?.map(Held))
    }

    async fn writes(&mut self, key: &str) -> Result<Option<u64>> {
        let held = self.client.query_opt(&self.get, &[&key]).await?;
        let version = held.map(|row| row.try_get::<_, i64>(1)).transpose()?.unwrap_or_default();
        Ok(Some(version.try_into()?))
    }

    async fn add(&mut self, counter: &str) -> Result<u64> {
        match self.number(&self.add, &[&counter]).await? {
            Some(sum) => Ok(sum),
            None => self.number(&self.add_first, &[&counter]).await?.context("a counter was not made"),
        }
    }

    async fn sum(&mut self, counter: &str) -> Result<u64> {
        self.number(&self.sum, &[&counter]).await?.context("there is no such counter")
    }

    async fn see(&mut self, key: &str, seen: &mut Seen) -> Result<()> {
        *seen = match self.client.query_opt(&self.get, &[&key]).await? {
            Some(row) => Seen { value: row.try_get(0)?, version: row.try_get(1)? },
            None => Seen::default(),
        };
        Ok(())
    }

    async fn swap(&mut self, key: &str, seen: &mut Seen, value: &[u8]) -> Result<bool> {
        let written = match seen.version {
            0 => self.client.execute(&self.swap_first, &[&key, &value]).await?,
            version => self.client.execute(&self.swap, &[&key, &version, &value]).await?,
        };
        if written == 1 {
            seen.version += 1;
            seen.value.clear();
            seen.value.extend_from_slice(value);
            return Ok(true);
        }
        self.see(key, seen).await?;
        Ok(false)
    }

    async fn mixed(&mut self, request: &Mixed) -> Result<()> {
        let Mixed { take, release, first, keys, value, counters, sum } = request;
        let row = self.client.query_one(&self.mixed, &[take, keys, value, counters, release, first]).await?;
        let answer: (i64, i64, Option<i64>, Option<i64>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let sum = Some(i64::try_from(*sum)?);
        let expected = (i64::try_from(keys.len())?, i64::try_from(counters.len())?, sum, sum);
        ensure!(answer == expected, "answered {answer:?} and not {expected:?}");
        Ok(())
    }

    async fn lock(&mut self, lock: &str) -> Result<()> {
        self.client.execute(&self.lock, &[&lock]).await?;
        Ok(())
    }

    async fn unlock(&mut self, lock: &str) -> Result<()> {
        let row = self.client.query_one(&self.unlock, &[&lock]).await?;
        ensure!(row.try_get::<_, bool>(0)?, "{lock} was not held");
        Ok(())
    }

    async fn publish(&mut self, keys: &[String], value: &[u8]) -> Result<()> {
        let told = self.client.query(&self.publish, &[&keys, &value]).await?.len();
        ensure!(told == keys.len(), "{told} of {} keys were written", keys.len());
        Ok(())
    }
}
