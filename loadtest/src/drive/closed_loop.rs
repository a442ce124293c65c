//! The closed loop: each worker begins its next unit when the last one is done. First a warm-up, then the
//! time that counts.

use crate::drive::measured::Begin;
use crate::drive::tally::{Phase, Tally};
use crate::drive::{Measured, Worker, travel};
use crate::plan::{Length, Parameters};
use crate::usage::Processes;
use anyhow::{Context as _, Result, bail};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

struct Shared {
    tally: Tally,
    rtt: Duration,
    /// Units that may still begin, where a count ends the run and not a time.
    units_left: Cell<Option<u64>>,
}

impl Shared {
    /// Whether one more unit may begin; in a run that is counted it is taken from the count.
    fn may_begin(&self) -> bool {
        match (self.tally.phase.get(), self.units_left.get()) {
            (Phase::Stop, _) | (Phase::Measure, Some(0)) => false,
            (Phase::Measure, Some(left)) => {
                self.units_left.set(Some(left - 1));
                true
            }
            (Phase::WarmUp, _) | (Phase::Measure, None) => true,
        }
    }
}

pub async fn run<W: Worker>(
    server: &Processes,
    workers: Vec<W>,
    parameters: &Parameters,
) -> Result<(Measured, Vec<W>)> {
    let units_left = match parameters.length {
        Length::Time(_) => None,
        Length::Units(units) => Some(units),
    };
    let shared = Shared { tally: Tally::new(), rtt: parameters.rtt, units_left: Cell::new(units_left) };
    let shared = Rc::new(shared);
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn_local(drive(worker, Rc::clone(&shared)));
    }
    sleep_while_well(&mut tasks, parameters.warm_up).await?;
    let begin = Begin::now(server)?;
    shared.tally.phase.set(Phase::Measure);
    let mut workers = Vec::with_capacity(tasks.len());
    let mut measured = match parameters.length {
        Length::Time(length) => {
            sleep_while_well(&mut tasks, length).await?;
            let measured = begin.end_with(server, &shared.tally)?;
            shared.tally.phase.set(Phase::Stop);
            join(&mut tasks, &mut workers).await?;
            measured
        }
        Length::Units(_) => {
            join(&mut tasks, &mut workers).await?;
            begin.end_with(server, &shared.tally)?
        }
    };
    measured.latency = shared.tally.latencies.take();
    Ok((measured, workers))
}

async fn join<W: 'static>(tasks: &mut JoinSet<Result<W>>, workers: &mut Vec<W>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        workers.push(ended??);
    }
    Ok(())
}

/// Sleeps, unless a worker fails in the meantime.
async fn sleep_while_well<W: 'static>(tasks: &mut JoinSet<Result<W>>, length: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(length) => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(ended) => ended?.map(drop).context("before the time was over"),
            None => bail!("there is nothing to run"),
        },
    }
}

async fn drive<W: Worker>(mut worker: W, shared: Rc<Shared>) -> Result<W> {
    let tally = &shared.tally;
    while shared.may_begin() {
        let (whole, begun) = (tally.phase.get() == Phase::Measure, Instant::now());
        travel(shared.rtt).await;
        let unit = worker.unit().await?;
        travel(shared.rtt).await;
        // A unit that began in the warm-up is work of the time that counts, but its latency is not; and
        // where units are counted, it is not one of those asked for.
        let measures = tally.phase.get() == Phase::Measure;
        if measures && (whole || shared.units_left.get().is_none()) {
            tally.count(unit);
        }
        if measures && whole {
            tally.time(begun.elapsed());
        }
    }
    Ok(worker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Unit;

    #[derive(Debug)]
    struct Nap {
        length: Duration,
        done: u64,
        fails_at: u64,
    }

    impl Worker for Nap {
        async fn unit(&mut self) -> Result<Unit> {
            tokio::time::sleep(self.length).await;
            self.done += 1;
            anyhow::ensure!(self.done != self.fails_at, "failed as told");
            Ok(Unit { operations: 3, bytes: 10 })
        }
    }

    fn naps(count: usize, fails_at: u64) -> Vec<Nap> {
        (0..count).map(|_| Nap { length: Duration::from_millis(5), done: 0, fails_at }).collect()
    }

    async fn drive(workers: Vec<Nap>, parameters: &Parameters) -> Result<(Measured, Vec<Nap>)> {
        tokio::task::LocalSet::new().run_until(run(&Processes::unknown(), workers, parameters)).await
    }

    #[tokio::test]
    async fn a_count_ends_a_run() {
        let parameters = Parameters {
            warm_up: Duration::from_millis(20),
            length: Length::Units(50),
            ..Parameters::default()
        };
        let (measured, workers) = drive(naps(4, 0), &parameters).await.unwrap();
        assert_eq!((measured.units, measured.operations, measured.bytes), (50, 150, 500));
        assert_eq!(measured.latency.count(), 50);
        assert_eq!(workers.len(), 4);
        assert!(workers.iter().map(|worker| worker.done).sum::<u64>() > 50, "the warm-up does not count");
    }

    #[tokio::test]
    async fn time_ends_a_run_and_travel_counts() {
        let parameters = Parameters {
            warm_up: Duration::from_millis(10),
            length: Length::Time(Duration::from_millis(200)),
            rtt: Duration::from_millis(20),
            ..Parameters::default()
        };
        let (measured, _) = drive(naps(2, 0), &parameters).await.unwrap();
        assert!((2..=18).contains(&measured.units), "{} units", measured.units);
        assert!(measured.latency.percentiles().p50_us >= 24_900.0);
    }

    #[tokio::test]
    async fn a_failure_ends_a_run() {
        let error = drive(naps(2, 3), &Parameters::default()).await.unwrap_err();
        assert!(format!("{error:#}").contains("failed as told"), "{error:#}");
    }
}
