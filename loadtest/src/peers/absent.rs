//! What there is in a program that was built without peers: nobody.

use crate::outcome::Outcome;
use crate::peers::Promise;
use crate::plan::{Parameters, Peer, Scenario};
use crate::process::Start;
use anyhow::{Result, bail};

/// The peers that run.
#[derive(Debug)]
pub struct Peers;

impl Peers {
    /// None that runs yet.
    ///
    /// # Errors
    /// Always.
    pub fn new(_start: Start) -> Result<Self> {
        bail!("this program was built without peers: build it with --features peers, or use loadtest/run.sh")
    }

    /// Does one step.
    ///
    /// # Errors
    /// Never, since there is nobody.
    pub async fn run(
        &mut self,
        _peer: Peer,
        _scenario: Scenario,
        _parameters: &Parameters,
    ) -> Result<Option<Outcome>> {
        Ok(None)
    }

    /// What the peers that were started promise.
    #[must_use]
    pub fn promises(&self) -> Vec<Promise> {
        Vec::new()
    }
}
