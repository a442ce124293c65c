//! Hears what other frontends have changed, and wakes who waits for it here. Notifications get lost: after
//! a lost connection everyone is woken, and what else goes astray is found by the housekeeping.

use crate::committer::Frontend;
use crate::notifier::{EVERYTHING, hashes};
use crate::session::Sessions;
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// After so long without news the connection is checked.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(200);

/// Begins to listen.
pub(crate) async fn listen(sessions: &Sessions) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(&sessions.listener_pool()).await?;
    listener.ignore_pool_close_event(true);
    listener.listen(&sessions.channel()).await?;
    Ok(listener)
}

/// Wakes whoever waits for what is heard, for ever.
pub(crate) async fn hear(mut listener: PgListener, frontend: Frontend) {
    let watches = &frontend.watches;
    loop {
        let heard = match timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(heard) => heard,
            Err(_) => match check(&mut listener).await {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
        };
        match heard {
            Ok(Some(heard)) if heard.payload() == EVERYTHING => watches.wakeups.wake_all(),
            Ok(Some(heard)) => watches.wake_hashes(hashes(heard.payload())),
            // The connection was lost, and another one listens by now.
            Ok(None) => {
                frontend.metrics.listener_losses.inc();
                watches.wakeups.wake_all();
            }
            Err(error) => {
                tracing::warn!(%error, "the connection for notifications is lost");
                frontend.metrics.listener_losses.inc();
                listener = listen_again(&frontend.sessions).await;
                watches.wakeups.wake_all();
            }
        }
    }
}

/// Whether the connection is alive: one that died with its machine says nothing either.
async fn check(listener: &mut PgListener) -> sqlx::Result<()> {
    let asking = timeout(CHECK_TIME_MAX, sqlx::query("SELECT 1").execute(listener));
    asking.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(drop)
}

async fn listen_again(sessions: &Sessions) -> PgListener {
    loop {
        sleep(PAUSE).await;
        match listen(sessions).await {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(%error, "not listening yet"),
        }
    }
}
