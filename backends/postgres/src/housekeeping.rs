//! What a frontend does once a second on a connection of its own: it gives a sign of life, sees who else
//! is there, looks for changes that no notification told of, and tries to become the one that sweeps.

use crate::committer::{Frontend, too_long};
use crate::failure::Failure;
use crate::reader::READ_TIME_MAX;
use crate::rows::{self, STAMP_BYTES, Wanted};
use crate::sweeping;
use dragon_contract::stored_cell;
use dragon_core::cell::Cell;
use dragon_core::layout;
use sqlx::{Connection as _, PgConnection, Row as _};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Seconds without a sign of life after which a frontend counts as gone.
const GONE_AFTER_S: f64 = 5.0;
/// Looks between two chores that need not be done each second.
const CHORES_EVERY: u64 = 15;
/// Stamps that are read at once.
const STAMPS_MAX: usize = 1_000;

/// What the looks find out. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    has_peers: AtomicBool,
    is_sweeper: AtomicBool,
}

impl Findings {
    /// Whether other frontends serve this store.
    pub(crate) fn has_peers(&self) -> bool {
        self.0.has_peers.load(Ordering::SeqCst)
    }

    /// Whether this frontend is the one that sweeps.
    pub(crate) fn is_sweeper(&self) -> bool {
        self.0.is_sweeper.load(Ordering::SeqCst)
    }
}

pub(crate) struct Housekeeper {
    frontend: Frontend,
    findings: Findings,
    connection: Option<PgConnection>,
    /// The beginnings of the rows of the accounts in which someone waits, as of the last look.
    accounts: BTreeMap<Cell, Option<Vec<u8>>>,
    looks: u64,
}

impl Housekeeper {
    pub(crate) fn new(frontend: Frontend, findings: Findings) -> Self {
        Self { frontend, findings, connection: None, accounts: BTreeMap::new(), looks: 0 }
    }

    /// Looks once a second, until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looked = timeout(READ_TIME_MAX, self.look_once()).await.unwrap_or_else(|_| Err(too_long()));
            if let Err(failure) = looked {
                // Whoever waits would find the same, or is woken when the listener is back.
                tracing::debug!(?failure, "the regular look failed");
                self.connection = None;
                // What was found changed may not have been woken: then all of it is looked at again.
                self.accounts.clear();
                self.findings.0.is_sweeper.store(false, Ordering::SeqCst);
                self.frontend.metrics.is_sweeper.set(0);
            }
        }
    }

    /// One look. The first one makes the frontend known.
    pub(crate) async fn look_once(&mut self) -> Result<(), Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.frontend.sessions.connect().await?,
        };
        let changed = self.beat(&mut connection).await?;
        if !changed.is_empty() {
            self.wake_changed(&mut connection, &changed).await?;
        }
        if self.looks.is_multiple_of(CHORES_EVERY) {
            self.do_chores(&mut connection).await?;
        }
        self.looks += 1;
        self.connection = Some(connection);
        Ok(())
    }

    /// The one query of each second. Gives the accounts in which someone waits and something changed.
    async fn beat(&mut self, connection: &mut PgConnection) -> Result<HashSet<String>, Failure> {
        const BEAT: &str = "WITH beat AS ( \
                INSERT INTO frontend (id, seen_at) VALUES ($1::uuid, now()) \
                ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at RETURNING 1), \
            peer AS MATERIALIZED (SELECT count(*) AS peers, $2 OR pg_try_advisory_lock($3, $4) AS sweeps \
                FROM frontend WHERE id <> $1::uuid AND seen_at > now() - make_interval(secs => $5)), \
            changed AS ( \
                SELECT account.name, cell.head \
                FROM unnest($7::smallint[], $8::bytea[], $9::bytea[]) AS account (lane, name, head) \
                LEFT JOIN LATERAL (SELECT substring(content FROM 1 FOR $6) AS head FROM cell \
                    WHERE cell.lane = account.lane AND cell.name = account.name OFFSET 0) AS cell ON true \
                WHERE cell.head IS DISTINCT FROM account.head) \
            SELECT peers, sweeps, name, head FROM peer LEFT JOIN changed ON true";
        self.forget_unwatched();
        let (lanes, names): (Vec<i16>, Vec<&[u8]>) =
            self.accounts.keys().map(|cell| (rows::lane(cell), cell.as_bytes().as_ref())).unzip();
        let heads: Vec<Option<&[u8]>> = self.accounts.values().map(Option::as_deref).collect();
        let sessions = &self.frontend.sessions;
        let query = sqlx::query(BEAT)
            .bind(self.frontend.id.as_ref())
            .bind(self.findings.is_sweeper())
            .bind(sessions.lock_class())
            .bind(sessions.sweeper_lock())
            .bind(GONE_AFTER_S)
            .bind(STAMP_BYTES)
            .bind(lanes)
            .bind(names)
            .bind(heads);
        let mut changed = HashSet::new();
        let mut heads_now = Vec::new();
        for row in query.fetch_all(connection).await? {
            let (peers, sweeps): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
            self.findings.0.has_peers.store(peers > 0, Ordering::SeqCst);
            self.findings.0.is_sweeper.store(sweeps, Ordering::SeqCst);
            self.frontend.metrics.other_frontends.set(peers);
            self.frontend.metrics.is_sweeper.set(sweeps.into());
            if let Some(name) = row.try_get::<Option<Vec<u8>>, _>(2)? {
                let account = stored_cell(name)?;
                changed.insert(account.account_name().to_owned());
                heads_now.push((account, row.try_get(3)?));
            }
        }
        self.accounts.extend(heads_now);
        Ok(changed)
    }

    /// Keeps the accounts in which someone waits. A new one counts as changed at the first look.
    fn forget_unwatched(&mut self) {
        let watched = self.frontend.watches.accounts();
        self.accounts.retain(|account, _| watched.contains(account));
        for account in watched {
            self.accounts.entry(account).or_insert_with(|| Some(Vec::new()));
        }
    }

    /// Wakes whoever waits in one of these accounts for a cell that is not as it was seen.
    async fn wake_changed(
        &self,
        connection: &mut PgConnection,
        accounts: &HashSet<String>,
    ) -> Result<(), Failure> {
        let mut watched = self.frontend.watches.watched();
        watched.retain(|(cell, _)| accounts.contains(cell.account_name()));
        for watched in watched.chunks(STAMPS_MAX) {
            let mut wanted = Wanted::default();
            watched.iter().for_each(|(cell, _)| wanted.push(cell, Some(STAMP_BYTES)));
            let read = rows::read(connection, &wanted, usize::MAX).await?;
            let mut changed = Vec::new();
            for ((cell, seen), found) in watched.iter().zip(read.found) {
                // Whoever waits for a row that can't be read is to find that out.
                if layout::stamp(cell, found.row().as_ref()).ok() != Some(*seen) {
                    changed.push(cell);
                }
            }
            // Most of them are being woken by a notification in this very moment.
            self.frontend.metrics.missed_changes.inc_by(changed.len() as u64);
            self.frontend.watches.wakeups.wake(changed);
        }
        Ok(())
    }

    async fn do_chores(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        const OLDEST: &str = "SELECT coalesce(extract(epoch FROM now() - min(begun)), 0)::float8 FROM ( \
            SELECT min(xact_start) AS begun FROM pg_stat_activity WHERE backend_xmin IS NOT NULL \
                AND pid <> pg_backend_pid() AND backend_type NOT LIKE 'autovacuum%' \
            UNION ALL SELECT min(prepared) FROM pg_prepared_xacts) AS open";
        let seconds: f64 = sqlx::query_scalar(OLDEST).fetch_one(&mut *connection).await?;
        self.frontend.metrics.oldest_snapshot_seconds.set(seconds);
        if self.findings.is_sweeper() {
            sweeping::forget_frontends(connection).await?;
        }
        Ok(())
    }
}

/// Takes the frontend's row away.
pub(crate) async fn leave(frontend: &Frontend) -> sqlx::Result<()> {
    const LEAVE: &str = "DELETE FROM frontend WHERE id = $1::uuid";
    let mut connection = frontend.sessions.connect().await?;
    sqlx::query(LEAVE).bind(frontend.id.as_ref()).execute(&mut connection).await?;
    connection.close().await
}
