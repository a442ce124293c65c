//! etcd through `etcd-client` (gRPC): many requests at once on a few connections, which is what HTTP/2 is
//! for.

use crate::peers::client::{Client, Mixed, Peer, Seen};
use crate::peers::watch::Notices;
use crate::process::{Place, Process, Start, find, free_ports};
use anyhow::{Context as _, Result, bail, ensure};
use etcd_client::{
    Compare, CompareOp, GetResponse, KvClient, LockClient, LockOptions, PutOptions, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::task::JoinSet;

/// Connections that the workers share. Of 1, 4, 16 and 64 one was the best: 64-byte writes of 64 workers
/// took 36, 34, 51 and 97 µs of the client's CPU each and came to 10,300, 8,300, 6,000 and 3,600 a second, on
/// two busy cores; with 400 workers 1, 2 and 4 were alike. More of them only take apart what one packet
/// carries.
const CHANNELS: usize = 1;
/// Connections that watchers share, with a stream each.
const WATCH_CHANNELS: usize = 16;
/// Longer than any run: nobody has to keep a lease alive.
const LEASE_S: i64 = 3_600;
/// So that the store never refuses a write in a long run; the default is 2 GiB.
const QUOTA_BYTES: &str = "8589934592";

/// A server.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
}

impl Etcd {
    async fn channel(&self) -> Result<etcd_client::Client> {
        let address = format!("http://{}", self.process.address);
        let mut last = None;
        // It accepts connections a little before it answers.
        for _ in 0..100 {
            let mut client = etcd_client::Client::connect([&address], None).await?;
            match client.get("ready", None).await {
                Ok(_) => return Ok(client),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        bail!("etcd does not answer: {last:?}")
    }

    /// As many channels as there are users, or so many if there are more.
    async fn channels(&self, users: usize, channels: usize) -> Result<Vec<etcd_client::Client>> {
        let mut opened = Vec::new();
        for _ in 0..users.clamp(1, channels) {
            opened.push(self.channel().await?);
        }
        Ok(opened)
    }
}

impl Peer for Etcd {
    const PROGRAMS: &[&str] = &["etcd"];
    const PACKAGE: &str = "etcd-server";
    type Client = Connection;

    async fn start(start: &Start) -> Result<Self> {
        let program = find("etcd").context("there is no etcd")?;
        let place = Place::new(start)?;
        let [address, peer] = free_ports()?;
        let (url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let (cluster, data) = (format!("default={peer_url}"), place.data());
        let data = data.to_str().context("the folder's name is no text")?;
        let mut arguments = vec!["--data-dir", data, "--logger", "zap", "--log-level", "error"];
        arguments.extend(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        arguments.extend(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        arguments.extend(["--initial-cluster", &cluster]);
        arguments.extend(["--max-txn-ops", "1000", "--quota-backend-bytes", QUOTA_BYTES]);
        let process = place.start(&program, &arguments, address)?;
        let etcd = Self { process };
        etcd.channel().await?;
        Ok(etcd)
    }

    fn process(&self) -> &Process {
        &self.process
    }

    async fn connect(&self, count: usize) -> Result<Vec<Connection>> {
        let channels = self.channels(count, CHANNELS).await?;
        let mut connections = Vec::with_capacity(count);
        for channel in channels.iter().cycle().take(count) {
            let lease = channel.lease_client().grant(LEASE_S, None).await?.id();
            connections.push(Connection {
                kv: channel.kv_client(),
                locks: channel.lock_client(),
                lease,
                held: Vec::new(),
                counters: HashMap::new(),
            });
        }
        Ok(connections)
    }

    async fn watch(
        &self,
        keys: &[String],
        watchers: usize,
        notices: &Rc<Notices>,
    ) -> Result<JoinSet<Result<()>>> {
        let channels = self.channels(watchers, WATCH_CHANNELS).await?;
        let mut tasks = JoinSet::new();
        for (number, channel) in channels.iter().enumerate() {
            // One stream a connection, with as many watches on it as it takes.
            let mut stream = None;
            let mut watched = HashMap::new();
            for watcher in (number..watchers).step_by(channels.len()) {
                let key = keys[watcher % keys.len()].as_str();
                let stream = match &mut stream {
                    None => stream.insert(channel.watch_client().watch(key, None).await?),
                    Some(stream) => {
                        stream.watch(key, None).await?;
                        stream
                    }
                };
                let created = stream.message().await?.context("the stream of a watcher ended")?;
                ensure!(created.created() && !created.canceled(), "answered {created:?}");
                watched.insert(created.watch_id(), key.to_owned());
            }
            let (mut stream, notices) =
                (stream.context("a connection without a watcher")?, Rc::clone(notices));
            tasks.spawn_local(async move {
                while let Some(told) = stream.message().await? {
                    ensure!(!told.canceled(), "a watch was cancelled: {}", told.cancel_reason());
                    let key = watched.get(&told.watch_id()).context("a watch that nobody made")?;
                    for event in told.events() {
                        let kv = event.kv().context("an event without a key")?;
                        ensure!(kv.key() == key.as_bytes(), "told of another key than {key}");
                        notices.note(kv.value())?;
                    }
                }
                bail!("the stream of a watcher ended")
            });
        }
        Ok(tasks)
    }
}

/// A worker, which shares a connection with some others.
pub struct Connection {
    kv: KvClient,
    locks: LockClient,
    lease: i64,
    /// The key of the lock that it holds.
    held: Vec<u8>,
    /// What it has last seen of each counter.
    counters: HashMap<String, Counter>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    sum: u64,
    revision: i64,
}

impl Connection {
    /// Sets a key if it is still as it was at a revision; else answers with how it is.
    async fn put_at(&mut self, key: &str, revision: i64, value: &[u8]) -> Result<TxnResponse> {
        let txn = Txn::new()
            .when([Compare::mod_revision(key, CompareOp::Equal, revision)])
            .and_then([TxnOp::put(key, value, None)])
            .or_else([TxnOp::get(key, None)]);
        Ok(self.kv.txn(txn).await?)
    }
}

fn revision(header: Option<&etcd_client::ResponseHeader>) -> Result<i64> {
    Ok(header.context("an answer without a revision")?.revision())
}

/// What a refused transaction found.
fn found(answer: &TxnResponse) -> Result<GetResponse> {
    match answer.op_responses().pop() {
        Some(TxnOpResponse::Get(got)) => Ok(got),
        other => bail!("a transaction answered {other:?}"),
    }
}

fn number(text: &[u8]) -> Result<u64> {
    std::str::from_utf8(text)?.parse().with_context(|| format!("{:?}", String::from_utf8_lossy(text)))
}

impl Client for Connection {
    type Value = Vec<u8>;

    async fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.kv.put(key, value, None).await?;
        Ok(())
    }

    async fn fill(&mut self, keys: &[String], value: &[u8]) -> Result<()> {
        let puts: Vec<TxnOp> = keys.iter().map(|key| TxnOp::put(key.as_str(), value, None)).collect();
        self.kv.txn(Txn::new().and_then(puts)).await?;
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut got = self.kv.get(key, None).await?;
        Ok(got.take_kvs().pop().map(|kv| kv.into_key_value().1))
    }

    async fn writes(&mut self, key: &str) -> Result<Option<u64>> {
        let got = self.kv.get(key, None).await?;
        Ok(Some(got.kvs().first().map_or(Ok(0), |kv| kv.version().try_into())?))
    }

    async fn add(&mut self, counter: &str) -> Result<u64> {
        let mut seen = self.counters.get(counter).copied().unwrap_or_default();
        loop {
            let sum = seen.sum + 1;
            let answer = self.put_at(counter, seen.revision, sum.to_string().as_bytes()).await?;
            if answer.succeeded() {
                let now = Counter { sum, revision: revision(answer.header())? };
                match self.counters.get_mut(counter) {
                    Some(known) => *known = now,
                    None => drop(self.counters.insert(counter.to_owned(), now)),
                }
                return Ok(sum);
            }
            let found = found(&answer)?;
            let kv = found.kvs().first().context("a counter is gone")?;
            seen = Counter { sum: number(kv.value())?, revision: kv.mod_revision() };
        }
    }

    async fn sum(&mut self, counter: &str) -> Result<u64> {
        number(&self.get(counter).await?.context("there is no such counter")?)
    }

    async fn see(&mut self, key: &str, seen: &mut Seen) -> Result<()> {
        let mut got = self.kv.get(key, None).await?;
        *seen = got.take_kvs().pop().map_or_else(Seen::default, |kv| Seen {
            version: kv.mod_revision(),
            value: kv.into_key_value().1,
        });
        Ok(())
    }

    async fn swap(&mut self, key: &str, seen: &mut Seen, value: &[u8]) -> Result<bool> {
        let answer = self.put_at(key, seen.version, value).await?;
        if answer.succeeded() {
            seen.version = revision(answer.header())?;
            seen.value.clear();
            seen.value.extend_from_slice(value);
            return Ok(true);
        }
        let kv = found(&answer)?.take_kvs().pop().context("a key is gone")?;
        seen.version = kv.mod_revision();
        seen.value = kv.into_key_value().1;
        Ok(false)
    }

    async fn mixed(&mut self, request: &Mixed) -> Result<()> {
        let Mixed { take, release, first, keys, value, counters, sum } = request;
        let owner = self.lease.to_string();
        let mut mine = vec![Compare::create_revision(take.as_str(), CompareOp::Equal, 0)];
        let mut operations = Vec::with_capacity(2 + keys.len() + counters.len());
        let leased = PutOptions::new().with_lease(self.lease);
        operations.push(TxnOp::put(take.as_str(), owner.as_str(), Some(leased)));
        if !first {
            mine.push(Compare::value(release.as_str(), CompareOp::Equal, owner));
            operations.push(TxnOp::delete(release.as_str(), None));
        }
        operations.extend(keys.iter().map(|key| TxnOp::put(key.as_str(), value.as_slice(), None)));
        // It has nothing that adds: only because nobody else counts these are the numbers known.
        let sum = sum.to_string();
        operations.extend(counters.iter().map(|key| TxnOp::put(key.as_str(), sum.as_str(), None)));
        let answer = self.kv.txn(Txn::new().when(mine).and_then(operations)).await?;
        ensure!(answer.succeeded(), "it can't have {take} or did not hold {release}");
        Ok(())
    }

    async fn lock(&mut self, lock: &str) -> Result<()> {
        let options = LockOptions::new().with_lease(self.lease);
        let locked = self.locks.lock(lock, Some(options)).await?;
        self.held.clear();
        self.held.extend_from_slice(locked.key());
        Ok(())
    }

    async fn unlock(&mut self, _lock: &str) -> Result<()> {
        self.locks.unlock(self.held.as_slice()).await?;
        Ok(())
    }

    async fn publish(&mut self, keys: &[String], value: &[u8]) -> Result<()> {
        self.fill(keys, value).await
    }
}
