//! `watch-one`, `watch-many`: a crowd watches some keys; they are written once, all in one request, and the
//! clock runs until the last watcher has its answer.

use crate::answers::Written;
use crate::client::{Answer, Connection};
use crate::crowd;
use crate::drive::{Begin, Measured};
use crate::http::Request;
use crate::latency::{Latencies, median};
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::probe::{metric, until_watching};
use crate::server::Server;
use crate::space::{Space, key_name};
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// As many as one request may write.
const KEYS_MAX: usize = 1_000;
const ARM_TIME_MAX: Duration = Duration::from_secs(30);
const WAKE_TIME_MAX: Duration = Duration::from_secs(60);

/// The times of one wake, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    written: f64,
    first: f64,
    half: f64,
    last: f64,
    last_from_sending: f64,
}

/// An answer of a watch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Changed<'a> {
    key: &'a str,
    version: u64,
    value: &'a str,
}

/// Reads the answer of a watcher of this key that had seen a version.
fn changed(answer: &Answer<'_>, key: usize, seen: u64, value: &str) -> Result<u64> {
    let changed: Changed<'_> = answer.read()?;
    let right = changed.key == key_name(key) && changed.version > seen && changed.value == value;
    ensure!(right, "woken with {}, and {value:?} was written to {}", answer.text(), key_name(key));
    Ok(changed.version)
}

/// The crowd, from one wake to the next.
struct Crowd<'a> {
    server: &'a Server,
    /// Where the watchers are: with several frontends, on another one than the writer.
    watched: SocketAddr,
    account: String,
    keys: usize,
    writer: Connection,
    /// Each watches the key of its number, counted round and round.
    watchers: Vec<Connection>,
    version: u64,
    total: Measured,
}

/// Wakes the watchers, so many times. A unit is a wake, its latency how long from the write's answer.
///
/// # Errors
/// For a wrong answer, or a watcher that is not armed or not woken.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let (keys, watchers) = (parameters.keys, parameters.connections);
    ensure!(keys <= KEYS_MAX, "more than {KEYS_MAX} keys can't be written at once");
    let watched = server.frontends().last().unwrap_or(server.address);
    let mut crowd = Crowd {
        server,
        watched,
        account: Space::new("watch", 1, keys).account(0),
        keys,
        writer: Connection::open(server.address).await?,
        watchers: crowd::connect_to(|_| watched, watchers).await?,
        version: 0,
        total: Measured::default(),
    };
    crowd.version = crowd.write("round 0").await?.0;
    let mut rounds = Vec::with_capacity(parameters.wakes);
    // The first round warms up.
    for number in 0..=parameters.wakes {
        let round = crowd.wake(&format!("round {}", number + 1), number > 0).await?;
        if number > 0 {
            rounds.push(round);
        }
    }
    // The next time that as many are awaited, none of these may still be counted.
    crowd.watchers.clear();
    until_gone(watched).await?;
    Ok(outcome(crowd.total, &rounds))
}

/// What the wakes of a crowd came to.
#[must_use]
pub fn outcome(total: Measured, rounds: &[Round]) -> Outcome {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let worst = rounds.iter().map(|round| round.last).fold(0.0, f64::max);
    Outcome::of(total)
        .with("first wake, ms from the write's answer", of(|round| round.first))
        .with("half of them, ms", of(|round| round.half))
        .with("last wake, ms", of(|round| round.last))
        .with("last wake in the worst round, ms", worst)
        .with("write answered, ms from sending it", of(|round| round.written))
        .with("last wake, ms from sending the write", of(|round| round.last_from_sending))
}

async fn until_gone(watched: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while metric(watched, "dragon_watchers").await?.is_some_and(|watching| watching > 0.0) {
        ensure!(begun.elapsed() < ARM_TIME_MAX, "watchers that have hung up are still counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Crowd<'_> {
    /// Writes all keys; returns the version and when the answer came.
    async fn write(&mut self, value: &str) -> Result<(u64, Instant)> {
        let sets: Vec<Value> =
            (0..self.keys).map(|key| json!({"Key": key_name(key), "Value": value})).collect();
        let body = json!({"KVSet": sets}).to_string();
        let request = Request::post(self.server.address, &format!("/db/{}", self.account), &body);
        let written = Written::read(&self.writer.exchange(&request).await?)?;
        Ok((written.version, Instant::now()))
    }

    /// Arms all watchers, writes, and waits until all of them are answered.
    async fn wake(&mut self, value: &str, counts: bool) -> Result<Round> {
        let (count, address, seen) = (self.watchers.len(), self.watched, self.version);
        let path = format!("/watch/{}", self.account);
        let requests = (0..self.keys).map(|key| {
            let body = json!({"ID": key_name(key), "Version": seen, "Wait": 300}).to_string();
            Request::post(address, &path, &body)
        });
        let requests: Vec<Request> = requests.collect();
        let value: Rc<str> = value.into();
        let mut tasks = JoinSet::new();
        for (number, mut watcher) in std::mem::take(&mut self.watchers).into_iter().enumerate() {
            let (key, value) = (number % self.keys, Rc::clone(&value));
            watcher.send(requests[key].bytes()).await?;
            tasks.spawn_local(async move {
                let answer = watcher.receive().await?;
                let at = Instant::now();
                let version = changed(&answer, key, seen, &value)?;
                anyhow::Ok((watcher, at, version))
            });
        }
        let armed = tokio::select! {
            armed = until_watching(address, count, ARM_TIME_MAX) => armed?,
            Some(ended) = tasks.join_next() => {
                bail!("nothing was written, and a watcher is answered: {:?}", ended?.err())
            }
        };
        if armed {
            let watching = metric(address, "dragon_watchers").await?;
            ensure!(watching == Some(count as f64), "{watching:?} watchers are armed, and not {count}");
        }
        let begin = Begin::now(&self.server.processes())?;
        let (version, written_at) = self.write(&value).await?;
        let mut times = Vec::with_capacity(count);
        let all = async {
            while let Some(woken) = tasks.join_next().await {
                let (watcher, at, woken_for) = woken??;
                ensure!(woken_for == version, "woken for {woken_for}, written was {version}");
                self.watchers.push(watcher);
                times.push(at);
            }
            anyhow::Ok(())
        };
        let ended = tokio::time::timeout(WAKE_TIME_MAX, all).await;
        ended
            .with_context(|| format!("only {} of {count} were woken in {WAKE_TIME_MAX:?}", times.len()))??;
        self.version = version;
        let measured = begin.end(&self.server.processes())?;
        let from_answer: Latencies =
            times.iter().map(|at| at.saturating_duration_since(written_at)).collect();
        let round = Round::of(&mut times, begin.at(), written_at);
        if counts {
            self.total.add_round(measured, &from_answer);
        }
        Ok(round)
    }
}

impl Round {
    /// Of the times of all wakes, in any order.
    pub fn of(times: &mut [Instant], begun: Instant, written_at: Instant) -> Self {
        times.sort_unstable();
        let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
        let at = |share: usize| times.get((times.len() * share / 100).saturating_sub(1));
        let (half, last) = (at(50).copied().unwrap_or(written_at), at(100).copied().unwrap_or(written_at));
        Self {
            written: ms(begun, written_at),
            first: times.first().map_or(0.0, |first| ms(written_at, *first)),
            half: ms(written_at, half),
            last: ms(written_at, last),
            last_from_sending: ms(begun, last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_change_wakes() {
        let answer = |body: &'static str| Answer { status: 200, body: body.as_bytes() };
        let right = answer(r#"{"Key":"key-0000003","Version":8,"Value":"new"}"#);
        assert_eq!(changed(&right, 3, 7, "new").unwrap(), 8);
        assert!(changed(&right, 2, 7, "new").is_err(), "another key");
        assert!(changed(&right, 3, 8, "new").is_err(), "a version seen before");
        assert!(changed(&right, 3, 7, "newer").is_err(), "another value");
        assert!(changed(&Answer { status: 204, body: b"" }, 3, 7, "new").is_err(), "nothing");
    }

    #[test]
    fn rounds() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut times = [at(30), at(10), at(20), at(5)];
        let round = Round::of(&mut times, begun, at(8));
        assert_eq!([round.written, round.first, round.half, round.last], [8.0, 0.0, 2.0, 22.0]);
        assert_eq!(round.last_from_sending, 30.0);
    }
}
