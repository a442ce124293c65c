//! The cheap way to drive HTTP: a request that is laid out already goes out on a kept connection, and its
//! answer is checked in place. Nothing is allocated for it.

use crate::client::{Answer, Connection};
use crate::crowd;
use crate::drive::{self, Measured, Unit, Worker};
use crate::http::Request;
use crate::plan::Parameters;
use crate::server::Server;
use anyhow::{Context as _, Result};

/// Whether an answer ended a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It did, and so many operations were done in it.
    Done {
        /// How many.
        operations: u32,
    },
    /// More requests belong to this unit.
    More,
}

impl Answered {
    /// The end of a unit that is one operation.
    pub const ONE: Self = Self::Done { operations: 1 };
}

/// What one connection sends, and how it checks what comes back.
pub trait Exchange: 'static {
    /// The next request, as it goes out.
    fn request(&mut self) -> &Request;

    /// Checks its answer.
    ///
    /// # Errors
    /// For an answer that is not right: the run ends with it.
    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered>;
}

/// An exchange on its connection.
struct HttpWorker<E> {
    connection: Connection,
    exchange: E,
}

impl<E: Exchange> Worker for HttpWorker<E> {
    async fn unit(&mut self) -> Result<Unit> {
        let mut bytes = 0;
        loop {
            let request = self.exchange.request();
            bytes += request.body().len();
            self.connection.send(request.bytes()).await?;
            let answer = self.connection.receive().await?;
            bytes += answer.body.len();
            if let Answered::Done { operations } = self.exchange.check(&answer)? {
                return Ok(Unit { operations, bytes: bytes as u64 });
            }
        }
    }
}

/// Drives one connection for each exchange, and gives the exchanges back for what they noted. `new` is
/// called with each connection's number.
///
/// # Errors
/// The first wrong answer or broken connection.
pub async fn run<E: Exchange>(
    server: &Server,
    parameters: &Parameters,
    new: impl Fn(usize) -> E,
) -> Result<(Measured, Vec<E>)> {
    let connections = crowd::connect(server, parameters.connections).await?;
    let workers = connections.into_iter().enumerate();
    let workers = workers.map(|(number, connection)| HttpWorker { connection, exchange: new(number) });
    let (measured, workers) = drive::run(&server.processes(), workers.collect(), parameters)
        .await
        .with_context(|| format!("at {} connections", parameters.connections))?;
    Ok((measured, workers.into_iter().map(|worker| worker.exchange).collect()))
}
