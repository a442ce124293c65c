//! `echo`: the bodies of `kv-one-key`, to a server that only sends them back.

use crate::client::Answer;
use crate::closed_loop::{Exchange, Step};
use crate::scenarios::kv::ValueWrite;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// One connection to the echo server.
#[derive(Debug)]
pub struct EchoExchange(ValueWrite);

impl EchoExchange {
    /// One of several connections.
    #[must_use]
    pub fn new(address: SocketAddr, connection: usize) -> Self {
        Self(ValueWrite::new(address, "/echo", connection))
    }
}

impl Exchange for EchoExchange {
    fn request(&mut self) -> &[u8] {
        self.0.next(0).bytes()
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Step> {
        ensure!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
        ensure!(answer.body == self.0.request().body(), "another body came back: {}", answer.text());
        Ok(Step::Unit)
    }
}
