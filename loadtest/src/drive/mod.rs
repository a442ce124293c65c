//! Drives workers: when each begins its next unit, and what is measured of it. Nothing in here knows what
//! the work is, or whose server does it.

mod closed_loop;
mod measured;
mod open_loop;
mod tally;
mod worker;

pub use measured::{Begin, Measured};
pub use worker::{Unit, Worker};

use crate::plan::{Pace, Parameters};
use crate::usage::Processes;
use anyhow::Result;

/// Runs the workers as the parameters say (pace, length, warm-up, round-trip time), measures the processes
/// of the server meanwhile, and gives the workers back for what they noted.
///
/// # Errors
/// The first wrong answer or broken connection.
pub async fn run<W: Worker>(
    server: &Processes,
    workers: Vec<W>,
    parameters: &Parameters,
) -> Result<(Measured, Vec<W>)> {
    match parameters.pace {
        Pace::Closed => closed_loop::run(server, workers, parameters).await,
        Pace::Open { per_s } => open_loop::run(server, workers, parameters, per_s).await,
    }
}

/// Half of the simulated round trip: what lies between the client and the server one way.
async fn travel(rtt: std::time::Duration) {
    if !rtt.is_zero() {
        tokio::time::sleep(rtt / 2).await;
    }
}
