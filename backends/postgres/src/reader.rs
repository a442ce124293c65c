//! Reads of cells, many at once: a reader takes every look that waits, does them in one round trip, and
//! answers. There is no timer: while one group is being read the next one gathers.

use crate::committer::too_long;
use crate::failure::Failure;
use crate::rows::{self, Found, Read, StoreClock, Wanted};
use crate::session::Sessions;
use dragon_contract::{BackendError, LOAD_BYTES_MAX, Loaded, Result};
use dragon_core::cell::Cell;
use parking_lot::Mutex;
use sqlx::PgConnection;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Longest wait for an answer of the database to a read.
pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Cells that are read together, unless a single look is larger.
const GROUP_CELLS_MAX: usize = 2_000;

/// Someone's look at some cells.
#[derive(Debug)]
struct Look {
    cells: Vec<Cell>,
    /// So many bytes of each; `None` = all.
    bytes_max: Option<i32>,
    reply: oneshot::Sender<Result<Loaded>>,
}

/// Where looks wait for a reader. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looks(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    looks: Mutex<VecDeque<Look>>,
    arrived: Notify,
}

impl Looks {
    /// Reads cells at one moment, which is after the call; as [`dragon_contract::Backend::load`] does.
    pub(crate) async fn read(&self, cells: Vec<Cell>, bytes_max: Option<i32>) -> Result<Loaded> {
        let (reply, loaded) = oneshot::channel();
        self.0.looks.lock().push_back(Look { cells, bytes_max, reply });
        self.0.arrived.notify_one();
        match timeout(READ_TIME_MAX, loaded).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => Err(BackendError::Unavailable("the store is closed".into())),
            Err(_) => Err(Failure::into(too_long())),
        }
    }

    /// Those that go together; empty when none waits. Whoever gave up is left out.
    fn take_group(&self) -> Vec<Look> {
        let mut looks = self.0.looks.lock();
        let (mut group, mut cells) = (Vec::new(), 0);
        while let Some(look) = looks.front() {
            if cells > 0 && cells + look.cells.len() > GROUP_CELLS_MAX {
                break;
            }
            let Some(look) = looks.pop_front() else { break };
            if !look.reply.is_closed() {
                cells += look.cells.len();
                group.push(look);
            }
        }
        if !looks.is_empty() {
            self.0.arrived.notify_one();
        }
        group
    }

    fn put_back(&self, look: Look) {
        self.0.looks.lock().push_front(look);
        self.0.arrived.notify_one();
    }

    /// Reads for whoever asks, for ever.
    pub(crate) async fn serve(self, sessions: Sessions, clock: StoreClock) {
        let mut connection = None;
        loop {
            let group = self.take_group();
            if group.is_empty() {
                self.0.arrived.notified().await;
                continue;
            }
            // A connection that was kept may have died unnoticed: then once more, on a new one.
            let mut read = read_group(&mut connection, &sessions, &group).await;
            if let (Err(Failure::Unavailable(_)), true) = (&read, connection.is_some()) {
                connection = None;
                read = read_group(&mut connection, &sessions, &group).await;
            }
            match read {
                Ok(read) => self.answer(group, read, &clock),
                Err(failure) => {
                    connection = None;
                    let error = BackendError::from(failure);
                    group.into_iter().for_each(|look| drop(look.reply.send(Err(error.clone()))));
                }
            }
        }
    }

    fn answer(&self, group: Vec<Look>, read: Read, clock: &StoreClock) {
        let now_ms = clock.read(read.database_ms);
        let mut found = read.found.into_iter();
        for (at, look) in group.into_iter().enumerate() {
            let all: Vec<Found> = found.by_ref().take(look.cells.len()).collect();
            let whole = all.iter().take_while(|found| matches!(found, Found::Row(_))).count();
            if whole < all.len() && at > 0 {
                self.put_back(look); // The others have used up the bytes.
                continue;
            }
            let rows = all.into_iter().take(whole).map(Found::row).collect();
            drop(look.reply.send(Ok(Loaded { now_ms, rows })));
        }
    }
}

async fn read_group(
    connection: &mut Option<PgConnection>,
    sessions: &Sessions,
    group: &[Look],
) -> std::result::Result<Read, Failure> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(sessions.connect().await?),
    };
    let mut wanted = Wanted::default();
    for look in group {
        look.cells.iter().for_each(|cell| wanted.push(cell, look.bytes_max));
    }
    timeout(READ_TIME_MAX, rows::read(connection, &wanted, LOAD_BYTES_MAX))
        .await
        .unwrap_or_else(|_| Err(too_long()))
}
