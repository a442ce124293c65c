//! Fairness between frontends. A batch that others have beaten to it again and again claims the lane: whoever
//! begins a batch there sees the claim and waits for the claimant's commit, which takes it away. Only a
//! courtesy: a claim whose claimant has stalled is waited for once, for a moment, and correctness is the
//! transactions'.

use crate::committer::Frontend;
use crate::failure::Failure;
use crate::keys::Key;
use bytes::Bytes;
use foundationdb::Transaction;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a claim is respected.
const CLAIM_TIME_MAX: Duration = Duration::from_millis(200);

/// The claim on one lane, as one frontend sees it.
#[derive(Debug)]
pub(crate) struct Turn {
    key: Key,
    /// Another's claim, and since when it is known.
    theirs: Option<(Bytes, Instant)>,
    /// The claim of this frontend, from when it was written until a commit took it away.
    own: Option<Bytes>,
    claims: u64,
}

impl Turn {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, theirs: None, own: None, claims: 0 }
    }

    /// Refuses where another frontend has a claim that is to be respected.
    pub(crate) async fn check(&mut self, transaction: &Transaction) -> Result<(), Failure> {
        let stored = self.stored(transaction).await?;
        self.judge(stored)
    }

    /// The claim that is stored.
    pub(crate) async fn stored(&self, transaction: &Transaction) -> Result<Option<Bytes>, Failure> {
        Ok(transaction.get(&self.key, true).await?.map(|claim| Bytes::copy_from_slice(&claim)))
    }

    pub(crate) fn judge(&mut self, stored: Option<Bytes>) -> Result<(), Failure> {
        if self.is_respected(stored) { Err(Failure::NotOurTurn) } else { Ok(()) }
    }

    fn is_respected(&mut self, stored: Option<Bytes>) -> bool {
        let Some(claim) = stored.filter(|claim| Some(claim) != self.own.as_ref()) else {
            self.theirs = None;
            return false;
        };
        let since = match &self.theirs {
            Some((known, since)) if *known == claim => *since,
            _ => Instant::now(),
        };
        self.theirs = Some((claim, since));
        since.elapsed() < CLAIM_TIME_MAX
    }

    /// Waits until another's claim is gone, or not respected any more.
    pub(crate) async fn wait(&mut self, frontend: &Frontend) -> Result<(), Failure> {
        let Some((_, since)) = self.theirs else { return Ok(()) };
        let waiting = async {
            let transaction = frontend.begin_watching()?;
            if self.check(&transaction).await.is_ok() {
                return Ok(());
            }
            let changed = transaction.watch(&self.key);
            transaction.commit().await?;
            Ok::<(), Failure>(changed.await?)
        };
        timeout_at(since + CLAIM_TIME_MAX, waiting).await.unwrap_or(Ok(()))
    }

    /// Claims the lane, unless that is done, or someone else has.
    pub(crate) async fn claim(&mut self, frontend: &Frontend) -> Result<(), Failure> {
        if self.own.is_some() {
            return Ok(());
        }
        let transaction = frontend.begin()?;
        self.check(&transaction).await?;
        self.claims += 1;
        let claim: Bytes = [frontend.id.as_bytes().as_slice(), &self.claims.to_be_bytes()].concat().into();
        transaction.set(&self.key, &claim);
        transaction.commit().await?;
        self.own = Some(claim);
        frontend.metrics.claims.inc();
        Ok(())
    }

    /// The transaction's commit takes the own claim away.
    pub(crate) fn take_away(&self, transaction: &Transaction) {
        if self.own.is_some() {
            transaction.clear(&self.key);
        }
    }

    /// Notes that it did.
    pub(crate) fn taken_away(&mut self) {
        self.own = None;
    }
}
