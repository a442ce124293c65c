//! The closed loop: each connection sends its next request when the last one is answered. First a
//! warm-up, then the time that counts.

use crate::client::{Answer, Connection};
use crate::crowd;
use crate::latency::{Percentiles, nanoseconds};
use crate::server::Server;
use crate::usage;
use anyhow::{Context as _, Result, bail};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a loop runs.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Before anything counts.
    pub warm_up: Duration,
    /// What counts.
    pub measure: Duration,
}

/// Whether an answer ended what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One unit is done.
    Unit,
    /// More requests belong to this unit.
    Part,
}

/// What one connection sends, and how it checks what comes back.
pub trait Exchange: 'static {
    /// The next request, as it goes out.
    fn request(&mut self) -> &[u8];

    /// Checks its answer.
    ///
    /// # Errors
    /// For an answer that is not right: the run ends with it.
    fn check(&mut self, answer: &Answer<'_>) -> Result<Step>;
}

/// What a loop measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Units done in the time that counts.
    pub units: u64,
    /// How long that was.
    pub wall: Duration,
    /// CPU time of the server in it.
    pub server_cpu: Option<Duration>,
    /// CPU time of this process in it.
    pub client_cpu: Duration,
    /// From a unit's first request to its last answer.
    pub latency: Percentiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measure,
    Stop,
}

struct Shared {
    phase: Cell<Phase>,
    units: Cell<u64>,
    latencies: RefCell<Vec<u64>>,
}

/// A look at everything that counts, at one moment.
struct Look {
    at: Instant,
    units: u64,
    server_cpu: Option<Duration>,
    client_cpu: Duration,
}

impl Look {
    fn take(server: &Server, shared: &Shared) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            units: shared.units.get(),
            server_cpu: server.cpu_time()?,
            client_cpu: usage::cpu_time(std::process::id())?,
        })
    }
}

/// Runs one connection for each of `exchanges`, and gives them back for what they noted.
///
/// # Errors
/// The first wrong answer or broken connection.
pub async fn run<E: Exchange>(
    server: &Server,
    exchanges: Vec<E>,
    timing: Timing,
) -> Result<(Measured, Vec<E>)> {
    let latencies = RefCell::new(Vec::with_capacity(1 << 16));
    let shared = Rc::new(Shared { phase: Cell::new(Phase::WarmUp), units: Cell::new(0), latencies });
    let mut tasks = JoinSet::new();
    let connections = crowd::connect(server, exchanges.len()).await?;
    for (connection, exchange) in connections.into_iter().zip(exchanges) {
        tasks.spawn_local(drive(connection, exchange, Rc::clone(&shared)));
    }
    sleep_while_well(&mut tasks, timing.warm_up).await?;
    shared.phase.set(Phase::Measure);
    let before = Look::take(server, &shared)?;
    sleep_while_well(&mut tasks, timing.measure).await?;
    let after = Look::take(server, &shared)?;
    shared.phase.set(Phase::Stop);
    let mut exchanges = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        exchanges.push(ended??);
    }
    let measured = Measured {
        units: after.units - before.units,
        wall: after.at - before.at,
        server_cpu: after
            .server_cpu
            .zip(before.server_cpu)
            .map(|(after, before)| after.saturating_sub(before)),
        client_cpu: after.client_cpu.saturating_sub(before.client_cpu),
        latency: Percentiles::of(shared.latencies.take()),
    };
    Ok((measured, exchanges))
}

/// Sleeps, unless a connection fails in the meantime.
async fn sleep_while_well<E: 'static>(tasks: &mut JoinSet<Result<E>>, length: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(length) => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(ended) => ended?.map(drop).context("before the time was over"),
            None => bail!("there is nothing to run"),
        },
    }
}

async fn drive<E: Exchange>(mut connection: Connection, mut exchange: E, shared: Rc<Shared>) -> Result<E> {
    while shared.phase.get() != Phase::Stop {
        let (counted, begun) = (shared.phase.get() == Phase::Measure, Instant::now());
        loop {
            connection.send(exchange.request()).await?;
            if exchange.check(&connection.receive().await?)? == Step::Unit {
                break;
            }
        }
        shared.units.set(shared.units.get() + 1);
        if counted && shared.phase.get() == Phase::Measure {
            shared.latencies.borrow_mut().push(nanoseconds(begun.elapsed()));
        }
    }
    Ok(exchange)
}
