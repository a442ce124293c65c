//! A few clients beside a fault: they add to a counter and note what they are told.

use dragon_nemesis::cluster::Cluster;
use dragon_nemesis::reach::Frontend;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Clients of each frontend.
const EACH: usize = 3;
/// After so long a client gives a request up.
const PATIENCE: Duration = Duration::from_secs(2);

const VALUE_BYTES: usize = 1_500;

/// What became of one request.
#[derive(Debug)]
pub struct Outcome {
    pub took: Duration,
    /// None: the connection broke or nothing came.
    pub answer: Option<Answer>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// How far the frontend's clock is ahead, in seconds, as far as `Date` tells.
    pub ahead_s: i64,
}

/// What the clients of a cluster were told.
#[derive(Debug, Default)]
pub struct Told(pub Vec<Outcome>);

/// Has clients work until the returned switch is set.
pub fn clients(cluster: &Cluster) -> (Arc<AtomicBool>, JoinSet<Vec<Outcome>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut working = JoinSet::new();
    for frontend in cluster.frontends() {
        for _ in 0..EACH {
            working.spawn(work(frontend.clone(), Arc::clone(&stop)));
        }
    }
    (stop, working)
}

async fn work(frontend: Frontend, stop: Arc<AtomicBool>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut connection = None;
    // The value fills the embedded store's log, so that it is moved while the disk fails.
    let value = "x".repeat(VALUE_BYTES);
    let body = format!(r#"{{"Atomic":[{{"Key":"n","Add":1}}],"KVSet":[{{"Key":"v","Value":"{value}"}}]}}"#);
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let asked = timeout(PATIENCE, ask(&mut connection, frontend.address, &body)).await;
        let answer = asked.ok().and_then(Result::ok);
        if answer.is_none() {
            connection = None;
        }
        let pause = if answer.as_ref().is_some_and(|answer| answer.status == 200) { 2 } else { 20 };
        outcomes.push(Outcome { took: begun.elapsed(), answer });
        sleep(Duration::from_millis(pause)).await;
    }
    outcomes
}

/// One request on a connection that is kept.
async fn ask(connection: &mut Option<TcpStream>, address: SocketAddr, body: &str) -> std::io::Result<Answer> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(TcpStream::connect(address).await?),
    };
    let length = body.len();
    let request = format!(
        "POST /db/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    loop {
        if let Some(answer) = answer(&String::from_utf8_lossy(&text)) {
            return Ok(answer);
        }
        if stream.read_buf(&mut text).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// An answer, once it is whole.
fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then_some(value)
        })
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let ahead_s = header("date").and_then(seconds_of_day).map_or(0, ahead_s);
    (body.len() >= length).then(|| Answer { status, body: body.to_owned(), ahead_s })
}

const DAY_S: i64 = 86_400;

/// Of a date as HTTP has it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of_day(date: &str) -> Option<i64> {
    let mut parts = date.split(' ').nth(4)?.split(':').map(|part| part.parse::<i64>().ok());
    Some(parts.next()?? * 3_600 + parts.next()?? * 60 + parts.next()??)
}

fn ahead_s(seen_s: i64) -> i64 {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    // Nearer than half a day, whatever the day.
    (seen_s - now_s + DAY_S / 2).rem_euclid(DAY_S) - DAY_S / 2
}

impl Told {
    pub fn acknowledged(&self) -> i64 {
        self.answers().filter(|answer| answer.status == 200).count() as i64
    }

    /// How many may have happened or not.
    pub fn unknown(&self) -> i64 {
        let broken = self.0.iter().filter(|outcome| outcome.answer.is_none()).count();
        (broken + self.refused("outcome_unknown")) as i64
    }

    pub fn refused(&self, code: &str) -> usize {
        let named = |answer: &&Answer| answer.status == 503 && answer.body.contains(code);
        self.answers().filter(named).count()
    }

    pub fn broken(&self) -> usize {
        self.0.iter().filter(|outcome| outcome.answer.is_none()).count()
    }

    pub fn longest(&self) -> Duration {
        self.0.iter().map(|outcome| outcome.took).max().unwrap_or_default()
    }

    pub fn most_off_s(&self) -> i64 {
        self.answers().map(|answer| answer.ahead_s.abs()).max().unwrap_or_default()
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.0.iter().filter_map(|outcome| outcome.answer.as_ref())
    }
}

/// The counter, as one frontend shows it.
pub async fn counter(cluster: &Cluster) -> i64 {
    let address = cluster.frontends()[0].address;
    let mut connection = None;
    let asked = ask(&mut connection, address, r#"{"Atomic":[{"Key":"n"}]}"#);
    let answer = timeout(Duration::from_secs(10), asked).await.expect("it serves").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    value["Atomic"][0]["Value"].as_i64().unwrap()
}
