//! `echo`: the bodies of `kv-write`, to a server that only sends them back.

use crate::client::Answer;
use crate::exchange::{self, Answered, Exchange};
use crate::http::Request;
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::scenarios::kv_write::ValueWrite;
use crate::server::Server;
use anyhow::{Result, ensure};

/// One connection to the echo server.
struct Echo(ValueWrite);

impl Exchange for Echo {
    fn request(&mut self) -> &Request {
        self.0.next(0)
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        ensure!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
        ensure!(answer.body == self.0.request().body(), "another body came back: {}", answer.text());
        Ok(Answered::ONE)
    }
}

/// Lets the echo server send bodies back.
///
/// # Errors
/// For the first wrong answer.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let value_bytes = parameters.value_bytes;
    let new = |number| Echo(ValueWrite::new(server.address, "/echo", "", number, value_bytes));
    Ok(Outcome::of(exchange::run(server, parameters, new).await?.0))
}
