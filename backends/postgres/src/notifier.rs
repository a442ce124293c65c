//! Tells other frontends which cells have changed: after the COMMIT and on other connections, because
//! a NOTIFY inside the transaction makes all commits of the database wait for each other. What gets
//! lost here is found by the listeners' regular look.

use dragon_core::cell::Cell;
use dragon_core::hash::fnv1a;
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

/// Instead of hashes: anything may have changed.
pub(crate) const EVERYTHING: &str = "*";
/// A payload must stay below 8,000 bytes.
const HASHES_PER_PAYLOAD_MAX: usize = 400;
/// More cells than this are told as [`EVERYTHING`].
const HASHES_MAX: usize = 10_000;
/// How long a NOTIFY may take: a connection may be dead without anyone having been told.
const NOTIFY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait after a NOTIFY that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Where changes are told.
#[derive(Clone, Debug)]
pub(crate) struct Notifier(UnboundedSender<Vec<u64>>);

/// What is to be told.
pub(crate) struct Changes(UnboundedReceiver<Vec<u64>>);

impl Notifier {
    pub(crate) fn new() -> (Self, Changes) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), Changes(receiver))
    }

    /// Tells soon that these cells have changed.
    pub(crate) fn tell<'a>(&self, cells: impl IntoIterator<Item = &'a Cell>) {
        let hashes: Vec<u64> = cells.into_iter().map(|cell| fnv1a(cell.as_bytes())).collect();
        if !hashes.is_empty() && self.0.send(hashes).is_err() {
            tracing::debug!("nobody tells of changes any more");
        }
    }
}

impl Changes {
    /// Tells of changes, all that have gathered at once, until nobody is left who could make some. A NOTIFY
    /// need not be durable: after a crash every listener has lost its connection, and looks at everything.
    pub(crate) async fn tell_all(mut self, pool: PgPool, channel: String) {
        const NOTIFY: &str = "WITH undurable AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)) \
            SELECT pg_notify($1, payload) FROM undurable, unnest($2::text[]) AS payload";
        let mut untold = BTreeSet::new();
        while let Some(hashes) = self.0.recv().await {
            untold.extend(hashes);
            while !untold.is_empty() {
                while let Ok(hashes) = self.0.try_recv() {
                    untold.extend(hashes);
                }
                // More than this is told as everything, however much more.
                while untold.len() > HASHES_MAX + 1 {
                    untold.pop_last();
                }
                let notify = sqlx::query(NOTIFY).bind(&channel).bind(payloads(&untold));
                match timeout(NOTIFY_TIME_MAX, notify.execute(&pool)).await {
                    Ok(Ok(_)) => untold.clear(),
                    failed => {
                        tracing::debug!(?failed, "a NOTIFY failed: trying again");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

fn payloads(hashes: &BTreeSet<u64>) -> Vec<String> {
    if hashes.len() > HASHES_MAX {
        return vec![EVERYTHING.into()];
    }
    let hashes: Vec<u64> = hashes.iter().copied().collect();
    let payload = |hashes: &[u64]| {
        hashes.iter().fold(String::new(), |mut payload, hash| {
            // Writing to a string can't fail.
            write!(payload, "{hash:016x} ").unwrap_or_default();
            payload
        })
    };
    hashes.chunks(HASHES_PER_PAYLOAD_MAX).map(payload).collect()
}

/// The hashes of a payload. What is no hash is left out.
pub(crate) fn hashes(payload: &str) -> impl Iterator<Item = u64> {
    payload.split_ascii_whitespace().filter_map(|hash| u64::from_str_radix(hash, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_short_and_read_back() {
        let told: BTreeSet<u64> = (0..1_000).map(|at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let payloads = payloads(&told);
        assert!(payloads.iter().all(|payload| payload.len() < 8_000));
        assert_eq!(payloads.iter().flat_map(|payload| hashes(payload)).collect::<BTreeSet<_>>(), told);
        assert_eq!(super::payloads(&(0..20_000).collect()), [EVERYTHING]);
    }
}
