//! Opening: wait for the database, bring the schema up to date, start listening and housekeeping. Until
//! that is done the store answers that it is unavailable.

use crate::committer::Frontend;
use crate::failure::ConnectError;
use crate::housekeeping::{Findings, Housekeeper};
use crate::{listener, schema};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Pauses between tries to reach the database grow from the first to the last of these.
const PAUSE_MS: std::ops::Range<u64> = 100..5_000;

/// Opens the store, however long it takes, and starts what works beside it. The tasks end with the set.
///
/// # Errors
/// What does not get better by waiting.
pub(crate) async fn open(frontend: Frontend, findings: Findings) -> Result<JoinSet<()>, ConnectError> {
    let mut pause_ms = PAUSE_MS.start;
    loop {
        match try_open(&frontend, &findings).await {
            Ok(tasks) => return Ok(tasks),
            Err(error) if error.may_pass() => {
                tracing::warn!("waiting for the database, next try in {pause_ms} ms: {error}");
                sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(PAUSE_MS.end);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_open(frontend: &Frontend, findings: &Findings) -> Result<JoinSet<()>, ConnectError> {
    let sessions = &frontend.sessions;
    if sessions.are_pooled().await? {
        return Err(ConnectError::Pooled);
    }
    schema::migrate(sessions).await?;
    sessions.open();
    let heard = listener::listen(sessions).await?;
    let mut housekeeper = Housekeeper::new(frontend.clone(), findings.clone());
    housekeeper.look_once().await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(listener::hear(heard, frontend.clone()));
    tasks.spawn(housekeeper.run());
    Ok(tasks)
}
