//! Hears what other frontends have changed, and wakes who waits for it here. Notifications get lost:
//! after a lost connection everyone is woken, and once a second the stamps of what is waited for are
//! compared with the stored ones.

use crate::notifier::{EVERYTHING, hashes};
use crate::rows::read_stamps;
use crate::session::Sessions;
use crate::watches::Watches;
use dragon_core::cell::Cell;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the stamps are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Stamps that are read at once.
const STAMPS_MAX: usize = 1_000;

/// Begins to listen.
pub(crate) async fn listen(address: &Sessions) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(&address.listener_pool()).await?;
    listener.ignore_pool_close_event(true);
    listener.listen(&address.channel()).await?;
    Ok(listener)
}

/// Wakes whoever waits for what is heard, for ever.
pub(crate) async fn hear(mut listener: PgListener, address: Sessions, watches: Arc<Watches>) {
    loop {
        match listener.try_recv().await {
            Ok(Some(heard)) if heard.payload() == EVERYTHING => watches.wakeups.wake_all(),
            Ok(Some(heard)) => watches.wake_hashes(hashes(heard.payload())),
            // The connection was lost, and another one listens by now.
            Ok(None) => watches.wakeups.wake_all(),
            Err(error) => {
                tracing::warn!(%error, "the connection for notifications is lost");
                listener = listen_again(&address).await;
                watches.wakeups.wake_all();
            }
        }
    }
}

async fn listen_again(address: &Sessions) -> PgListener {
    loop {
        sleep(PAUSE).await;
        match listen(address).await {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(%error, "not listening yet"),
        }
    }
}

/// Looks at what is waited for once a second, for ever.
pub(crate) async fn look(pool: PgPool, watches: Arc<Watches>) {
    loop {
        sleep(LOOK_EVERY).await;
        for watched in watches.watched().chunks(STAMPS_MAX) {
            match changed(&pool, watched).await {
                Ok(changed) => watches.wakeups.wake(changed),
                // Whoever waits would find the same, or finds it when the listener is back.
                Err(error) => tracing::debug!(?error, "the stamps could not be compared"),
            }
        }
    }
}

async fn changed<'a>(
    pool: &PgPool,
    watched: &'a [(Cell, u64)],
) -> Result<impl Iterator<Item = &'a Cell>, crate::failure::Failure> {
    let mut connection = pool.acquire().await?;
    let stamps = read_stamps(&mut connection, watched.iter().map(|(cell, _)| cell)).await?;
    let stamps: HashMap<Cell, u64> = stamps.into_iter().collect();
    let differs = move |(cell, seen): &&(Cell, u64)| stamps.get(cell).copied().unwrap_or(0) != *seen;
    Ok(watched.iter().filter(differs).map(|(cell, _)| cell))
}
