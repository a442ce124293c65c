//! The open loop: units are due at a rate that is set beforehand, whether the server keeps up or not, and
//! each latency counts from when its unit was due. A server that stalls so shows all the waiting that it
//! caused, and not only that of the units which it let begin (the "coordinated omission").
//!
//! The gaps between arrivals are random (exponential: a Poisson process), as those of many clients that know
//! nothing of each other.

use crate::drive::measured::Begin;
use crate::drive::tally::{Phase, Tally};
use crate::drive::{Measured, Worker, travel};
use crate::plan::{Length, Parameters};
use crate::random::Random;
use crate::usage::Processes;
use anyhow::{Context as _, Result, bail};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

const SEED: u64 = 0x5eed_0f0a_1234_5678;
/// What is due and not yet begun when the time is over still runs, for so long at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a unit is due, and whether it counts.
#[derive(Clone, Copy)]
struct Arrival {
    due: Instant,
    counts: bool,
}

/// Arrivals that are due and not begun, oldest first.
struct Backlog {
    due: RefCell<VecDeque<Arrival>>,
    /// As many permits as there are arrivals; closed when no more will come.
    ready: Semaphore,
    most: Cell<usize>,
    tally: Tally,
    rtt: Duration,
}

impl Backlog {
    fn push(&self, arrival: Arrival) {
        let mut due = self.due.borrow_mut();
        due.push_back(arrival);
        self.most.set(self.most.get().max(due.len()));
        self.ready.add_permits(1);
    }

    /// Drops what is due and not begun, and says how much that was. It was late by this much at least.
    fn give_up(&self) -> u64 {
        let never_begun = self.due.take();
        for arrival in never_begun.iter().filter(|arrival| arrival.counts) {
            self.tally.time(arrival.due.elapsed());
        }
        never_begun.len() as u64
    }

    /// The next arrival; `None` when there will be none.
    async fn next(&self) -> Option<Arrival> {
        // In the order in which the workers asked.
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        self.due.borrow_mut().pop_front()
    }
}

pub async fn run<W: Worker>(
    server: &Processes,
    workers: Vec<W>,
    parameters: &Parameters,
    per_s: f64,
) -> Result<(Measured, Vec<W>)> {
    let backlog = Rc::new(Backlog {
        due: RefCell::default(),
        ready: Semaphore::new(0),
        most: Cell::new(0),
        tally: Tally::new(),
        rtt: parameters.rtt,
    });
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn_local(drive(worker, Rc::clone(&backlog)));
    }
    let begin = tokio::select! {
        begin = arrive(server, &backlog, parameters, per_s) => begin?,
        ended = tasks.join_next() => match ended {
            Some(ended) => bail!("a worker ended before the time was over: {:?}", ended?.err()),
            None => bail!("there is nothing to run"),
        },
    };
    let all = async {
        let mut done = Vec::with_capacity(tasks.len());
        while let Some(ended) = tasks.join_next().await {
            done.push(ended??);
        }
        anyhow::Ok(done)
    };
    tokio::pin!(all);
    let (done, never_begun) = match tokio::time::timeout(PATIENCE, &mut all).await {
        Ok(done) => (done?, 0),
        Err(_) => {
            let never_begun = backlog.give_up();
            (all.await?, never_begun)
        }
    };
    let mut measured = begin.end_with(server, &backlog.tally)?;
    measured.latency = backlog.tally.latencies.take();
    measured.backlog_max = backlog.most.get() as u64;
    measured.backlog_left = never_begun;
    Ok((measured, done))
}

/// Takes all arrivals as they come: those of the warm-up, then those that count. Returns when the last one
/// came, which is not when it is done.
async fn arrive(server: &Processes, backlog: &Backlog, parameters: &Parameters, per_s: f64) -> Result<Begin> {
    let mut arrivals = start_arrivals(per_s)?;
    let warm_until = Instant::now() + parameters.warm_up;
    while let Some(due) = arrivals.recv().await.filter(|due| *due < warm_until) {
        backlog.push(Arrival { due, counts: false });
    }
    let begin = Begin::now(server)?;
    backlog.tally.phase.set(Phase::Measure);
    backlog.most.set(0);
    let mut number = 0;
    while let Some(due) = arrivals.recv().await {
        let over = match parameters.length {
            Length::Time(length) => due >= begin.at() + length,
            Length::Units(units) => number >= units,
        };
        if over {
            break;
        }
        number += 1;
        backlog.push(Arrival { due, counts: true });
    }
    backlog.ready.close();
    Ok(begin)
}

async fn drive<W: Worker>(mut worker: W, backlog: Rc<Backlog>) -> Result<W> {
    let tally = &backlog.tally;
    while let Some(arrival) = backlog.next().await {
        travel(backlog.rtt).await;
        let unit = worker.unit().await?;
        travel(backlog.rtt).await;
        if arrival.counts {
            tally.count(unit);
            tally.time(arrival.due.elapsed());
        }
    }
    Ok(worker)
}

/// Sends each arrival when it is due, until nobody receives any more. A thread of its own: it sleeps to some
/// 50 µs, where the runtime's timers know only whole milliseconds, and it is on time however busy the
/// workers are.
fn start_arrivals(per_s: f64) -> Result<UnboundedReceiver<Instant>> {
    let gap_mean = Duration::try_from_secs_f64(1.0 / per_s).context("the rate")?;
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let (mut random, mut due) = (Random::new(SEED), Instant::now());
        while sender.send(due).is_ok() {
            due += gap_mean.mul_f64(-random.fraction().ln());
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Unit;

    /// A server that does a unit in so long.
    struct Slow(Duration);

    impl Worker for Slow {
        async fn unit(&mut self) -> Result<Unit> {
            tokio::time::sleep(self.0).await;
            Ok(Unit::one(1))
        }
    }

    async fn drive(workers: usize, each: Duration, per_s: f64, length: Length) -> Measured {
        let workers = (0..workers).map(|_| Slow(each)).collect();
        let parameters = Parameters { warm_up: Duration::from_millis(50), length, ..Parameters::default() };
        let local = tokio::task::LocalSet::new();
        local.run_until(run(&Processes::unknown(), workers, &parameters, per_s)).await.unwrap().0
    }

    #[tokio::test]
    async fn the_rate_holds() {
        let length = Duration::from_millis(500);
        let measured = drive(50, Duration::from_millis(1), 1000.0, Length::Time(length)).await;
        // Random arrivals: 500, give or take five standard deviations.
        assert!((388..=612).contains(&measured.units), "{} units", measured.units);
        let counted = drive(50, Duration::from_millis(1), 1000.0, Length::Units(100)).await;
        assert_eq!((counted.units, counted.latency.count(), counted.backlog_left), (100, 100, 0));
    }

    #[tokio::test]
    async fn waiting_for_a_slow_server_counts() {
        // One worker does 50 a second of the 200 that come: the hundredth is late by 1.5 s.
        let measured = drive(1, Duration::from_millis(20), 200.0, Length::Units(100)).await;
        assert_eq!(measured.units, 100);
        assert!(measured.backlog_max > 30, "a backlog of {}", measured.backlog_max);
        let late = measured.latency.percentiles().max_us;
        assert!(late > 700_000.0, "the last was late by {late} µs");
    }
}
