//! `hot-growth`: half of the connections write a few hot keys, half add to a few hot counters, for long. What
//! is stored does not grow, so memory and disk must not either: looked at once a second.

use crate::book::Book;
use crate::client::Answer;
use crate::exchange::{self, Answered, Exchange};
use crate::http::Request;
use crate::outcome::{Outcome, Series};
use crate::plan::Parameters;
use crate::scenarios::counter::{self, Counter};
use crate::scenarios::kv_write::{self, KvWrite};
use crate::server::Server;
use crate::space::Space;
use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Samples, whatever the length, but not closer than `SAMPLE_EVERY_MIN`.
const SAMPLES: u32 = 60;
const SAMPLE_EVERY_MIN: Duration = Duration::from_millis(200);

enum Hot {
    Key(KvWrite),
    Counter(Counter),
}

impl Exchange for Hot {
    fn request(&mut self) -> &Request {
        match self {
            Self::Key(write) => write.request(),
            Self::Counter(counter) => counter.request(),
        }
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        match self {
            Self::Key(write) => write.check(answer),
            Self::Counter(counter) => counter.check(answer),
        }
    }
}

/// Writes and counts.
///
/// # Errors
/// For the first wrong answer, or an update that is lost or there twice.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let Parameters { accounts, keys, value_bytes, .. } = *parameters;
    let (address, spaces) = (
        server.address,
        [Space::new("hot-keys", accounts, keys), Space::new("hot-counters", accounts, keys)],
    );
    let written = Rc::new(RefCell::new(Book::new(accounts, keys)));
    let counted = Rc::new(RefCell::new(Book::new(accounts, keys)));
    let new = |number: usize| match number % 2 {
        0 => Hot::Key(KvWrite::new(address, &spaces[0], &written, number, value_bytes)),
        _ => Hot::Counter(Counter::new(address, &spaces[1], &counted, number)),
    };
    let samples = RefCell::new(Samples::default());
    let measured = tokio::select! {
        measured = exchange::run(server, parameters, new) => measured?.0,
        failed = sample(server, parameters, &samples) => return Err(failed),
    };
    kv_write::verify(address, &spaces[0], &written.take(), value_bytes).await?;
    counter::verify(address, &spaces[1], &counted.take()).await?;
    let mut outcome = Outcome::of(measured);
    let Samples { rss_mib, disk_mib } = samples.into_inner();
    for (name, points) in [("memory, MiB", rss_mib), ("disk, MiB", disk_mib)] {
        if points.is_empty() {
            continue;
        }
        // The first quarter fills caches and the first log files.
        let settled = &points[points.len() / 4..];
        let most = |points: &[(f64, f64)]| points.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
        outcome = outcome
            .with(&format!("{name}, most"), most(&points))
            .with(&format!("{name}, at the end"), points.last().map_or(0.0, |(_, mib)| *mib))
            .with(&format!("{name}, most of the last half"), most(&settled[settled.len() / 3..]))
            .with(
                &format!("{name}, most of the quarter before"),
                most(&settled[..settled.len().div_ceil(3)]),
            );
        outcome.series.push(Series { name: name.to_owned(), points });
    }
    Ok(outcome)
}

#[derive(Default)]
struct Samples {
    rss_mib: Vec<(f64, f64)>,
    disk_mib: Vec<(f64, f64)>,
}

/// Looks again and again; returns only what went wrong.
async fn sample(server: &Server, parameters: &Parameters, samples: &RefCell<Samples>) -> anyhow::Error {
    let begun = Instant::now();
    let length = match parameters.length {
        crate::plan::Length::Time(length) => length,
        crate::plan::Length::Units(_) => Duration::from_secs(60),
    };
    let every = (length / SAMPLES).max(SAMPLE_EVERY_MIN);
    loop {
        tokio::time::sleep(every).await;
        let at = begun.elapsed().as_secs_f64();
        let rss_kib = match server.processes().rss_kib() {
            Ok(rss_kib) => rss_kib,
            Err(error) => return error,
        };
        let mut samples = samples.borrow_mut();
        samples.rss_mib.extend(rss_kib.map(|kib| (at, kib as f64 / 1024.0)));
        samples.disk_mib.extend(server.disk_bytes().map(|bytes| (at, bytes as f64 / f64::from(1 << 20))));
    }
}
