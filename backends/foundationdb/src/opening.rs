//! Opening: wait for the cluster, see whose data lies under the prefix, start the clock and the housekeeping.
//! Until that is done the store answers that it is unavailable.

use crate::committer::Frontend;
use crate::failure::{ConnectError, Failure, too_long};
use crate::housekeeping::{Findings, Housekeeper};
use foundationdb::RangeOption;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The format of what is stored.
const FORMAT: u32 = 1;
/// Pauses between tries to reach the cluster grow from the first to the last of these.
const PAUSE_MS: std::ops::Range<u64> = 100..5_000;
/// How long one try may take.
const TRY_TIME_MAX: Duration = Duration::from_secs(5);

/// Opens the store, however long it takes, and gives the housekeeper that has looked once.
///
/// # Errors
/// What does not get better by waiting.
pub(crate) async fn open(frontend: &Frontend, findings: &Findings) -> Result<Housekeeper, ConnectError> {
    let mut pause_ms = PAUSE_MS.start;
    loop {
        match try_open(frontend, findings).await {
            Ok(housekeeper) => return Ok(housekeeper),
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "waiting for the cluster");
                sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(PAUSE_MS.end);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_open(frontend: &Frontend, findings: &Findings) -> Result<Housekeeper, ConnectError> {
    timeout(TRY_TIME_MAX, check_format(frontend)).await.unwrap_or_else(|_| Err(too_long().into()))?;
    let mut housekeeper = Housekeeper::new(frontend.clone(), findings.clone());
    housekeeper.look_once().await?;
    Ok(housekeeper)
}

/// Reads the format; writes it where the prefix is empty. Frontends that do so at once write the same.
async fn check_format(frontend: &Frontend) -> Result<(), ConnectError> {
    let keys = &frontend.keys;
    let transaction = frontend.begin()?;
    let stored = transaction.get(&keys.format(), false).await.map_err(Failure::from)?;
    if let Some(stored) = stored {
        let format =
            <[u8; 4]>::try_from(&*stored).map(u32::from_be_bytes).map_err(|_| ConnectError::Foreign)?;
        return if format <= FORMAT { Ok(()) } else { Err(ConnectError::Newer { format }) };
    }
    let all = keys.all();
    let anything = RangeOption { limit: Some(1), ..RangeOption::from((all.start, all.end)) };
    if !transaction.get_range(&anything, 1, false).await.map_err(Failure::from)?.is_empty() {
        return Err(ConnectError::Foreign);
    }
    transaction.set(&keys.format(), &FORMAT.to_be_bytes());
    transaction.commit().await.map_err(Failure::from)?;
    Ok(())
}
