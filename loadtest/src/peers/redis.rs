//! Redis through the `redis` crate: every write synced before it is answered, one connection a worker.
//!
//! The crate and not `fred`: its releases come every few weeks, while fred's last one is more than a year
//! old, and most of the field uses it.

use crate::peers::client::{Client, Mixed, Peer, Seen};
use crate::peers::watch::Notices;
use crate::process::{Place, Process, Start, find, free_ports};
use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// Sets a key if it holds what the caller has seen; answers 1, or what it holds.
const SWAP: &str = "local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then return held or '' end
redis.call('SET', KEYS[1], ARGV[2])
return 1";
/// Takes a lock (KEYS: the lock, how many wait for it, the list on which it is handed over) if it is free;
/// if not, the caller counts as waiting, unless it does already. What was handed over and never fetched
/// while the lock's lease ended is of no worth any more.
const LOCK: &str = "local waits = ARGV[3] == '1'
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('DEL', KEYS[3])
  if waits then redis.call('DECR', KEYS[2]) end
  return 1
end
if not waits then redis.call('INCR', KEYS[2]) end
return 0";
/// Releases a lock if the caller holds it: hands it over to who has waited longest, with the value that the
/// lock has then, or frees it. So the next one holds it after one sync, and nobody comes between.
const UNLOCK: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if tonumber(redis.call('GET', KEYS[2]) or 0) > 0 then
  redis.call('DECR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('LPUSH', KEYS[3], ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
return 1";
/// Passes from one lock to another, sets keys and adds to counters, if it can have the locks; answers what
/// the counters are then. MULTI can't do that: it would write whoever holds the locks.
const MIXED: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[4] == '0' then
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
  redis.call('DEL', KEYS[2])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)
local keys = tonumber(ARGV[3])
local pairs = {}
for i = 1, keys do
  pairs[2 * i - 1] = KEYS[2 + i]
  pairs[2 * i] = ARGV[2]
end
redis.call('MSET', unpack(pairs))
local sums = {}
for i = keys + 3, #KEYS do sums[#sums + 1] = redis.call('INCR', KEYS[i]) end
return sums";
/// How long a lock is held at most, so that it is free again when its holder is gone.
const LEASE_MS: u64 = 60_000;
/// A waiter looks at the lock again after this: its lease may have ended without a release.
const WAIT_S: u64 = 1;

/// A server.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    client: redis::Client,
}

impl Peer for Redis {
    const PROGRAMS: &[&str] = &["redis-server"];
    const PACKAGE: &str = "redis-server";
    type Client = Connection;

    async fn start(start: &Start) -> Result<Self> {
        let program = find("redis-server").context("there is no redis-server")?;
        let place = Place::new(start)?;
        let [address] = free_ports()?;
        std::fs::create_dir(place.data())?;
        let (port, data) = (address.port().to_string(), place.data());
        let mut arguments = vec!["--bind", "127.0.0.1", "--port", &port, "--loglevel", "warning"];
        arguments.extend(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        arguments.extend(["--maxclients", "20000", "--dir"]);
        let data = data.to_str().context("the folder's name is no text")?;
        arguments.push(data);
        let process = place.start(&program, &arguments, address)?;
        let client = redis::Client::open(format!("redis://{address}"))?;
        Ok(Self { process, client })
    }

    fn process(&self) -> &Process {
        &self.process
    }

    async fn connect(&self, count: usize) -> Result<Vec<Connection>> {
        // A worker may wait for a lock as long as it takes.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut connections = Vec::with_capacity(count);
        let mut scripts = None;
        for number in 0..count {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let scripts = match &scripts {
                Some(scripts) => Rc::clone(scripts),
                None => Rc::clone(scripts.insert(Rc::new(Scripts::load(&mut connection).await?))),
            };
            connections.push(Connection {
                connection,
                command: Cmd::new(),
                scripts,
                tokens: Tokens::new(number),
                held: Vec::new(),
                waiters: Vec::new(),
                handed: Vec::new(),
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
        let mut tasks = JoinSet::new();
        for key in keys.iter().cycle().take(watchers) {
            let mut subscription = self.client.get_async_pubsub().await?;
            subscription.subscribe(key).await?;
            let (notices, key) = (Rc::clone(notices), key.clone());
            let mut messages = subscription.into_on_message();
            tasks.spawn_local(async move {
                while let Some(message) = messages.next().await {
                    ensure!(message.get_channel_name() == key, "told of another key than {key}");
                    notices.note(message.get_payload_bytes())?;
                }
                bail!("the connection of a subscriber broke")
            });
        }
        Ok(tasks)
    }
}

/// The names under which the server keeps the scripts.
#[derive(Debug)]
struct Scripts {
    swap: String,
    lock: String,
    unlock: String,
    mixed: String,
}

impl Scripts {
    async fn load(connection: &mut MultiplexedConnection) -> Result<Self> {
        let mut load = async |script: &str| {
            redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async::<String>(connection).await
        };
        Ok(Self {
            swap: load(SWAP).await?,
            lock: load(LOCK).await?,
            unlock: load(UNLOCK).await?,
            mixed: load(MIXED).await?,
        })
    }
}

/// Values for locks, none of them twice.
#[derive(Debug)]
struct Tokens {
    worker: String,
    last: u64,
}

impl Tokens {
    fn new(worker: usize) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { worker: format!("{worker}-{:x}", since_epoch.as_nanos()), last: 0 }
    }

    fn next(&mut self) -> String {
        self.last += 1;
        format!("{}-{}", self.worker, self.last)
    }
}

/// A worker's connection.
#[derive(Debug)]
pub struct Connection {
    connection: MultiplexedConnection,
    /// Used again and again, so that its memory is.
    command: Cmd,
    scripts: Rc<Scripts>,
    tokens: Tokens,
    /// The value of the lock that it holds.
    held: Vec<u8>,
    /// Room for the names that belong to a lock.
    waiters: Vec<u8>,
    handed: Vec<u8>,
}

impl Connection {
    fn command(&mut self, name: &str) -> &mut Cmd {
        self.command.clear();
        self.command.arg(name)
    }

    /// Sends the command that was laid out.
    async fn send(&mut self) -> Result<Value> {
        Ok(self.connection.send_packed_command(&self.command).await?.extract_error()?)
    }

    async fn number(&mut self) -> Result<u64> {
        match self.send().await? {
            Value::Int(number) => Ok(number.try_into()?),
            other => bail!("answered {other:?}"),
        }
    }

    async fn okay(&mut self) -> Result<()> {
        let answer = self.send().await?;
        ensure!(answer == Value::Okay, "answered {answer:?}");
        Ok(())
    }

    /// Lays out the names that belong to a lock.
    fn name_lock(&mut self, lock: &str) {
        for (name, ending) in [(&mut self.waiters, ":waiters"), (&mut self.handed, ":handed")] {
            name.clear();
            name.extend_from_slice(lock.as_bytes());
            name.extend_from_slice(ending.as_bytes());
        }
    }

    /// Lays out the call of a script about a lock.
    fn about_lock(&mut self, script: fn(&Scripts) -> &String, lock: &str) -> &mut Cmd {
        self.command.clear();
        let command = self.command.arg("EVALSHA").arg(script(&self.scripts));
        command.arg(3).arg(lock).arg(&self.waiters).arg(&self.handed)
    }
}

impl Client for Connection {
    type Value = Vec<u8>;

    async fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.command("SET").arg(key).arg(value);
        self.okay().await
    }

    async fn fill(&mut self, keys: &[String], value: &[u8]) -> Result<()> {
        let command = self.command("MSET");
        for key in keys {
            command.arg(key).arg(value);
        }
        self.okay().await
    }

    async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.command("GET").arg(key);
        match self.send().await? {
            Value::BulkString(value) => Ok(Some(value)),
            Value::Nil => Ok(None),
            other => bail!("answered {other:?}"),
        }
    }

    async fn writes(&mut self, _key: &str) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn add(&mut self, counter: &str) -> Result<u64> {
        self.command("INCR").arg(counter);
        self.number().await
    }

    async fn sum(&mut self, counter: &str) -> Result<u64> {
        let value = self.get(counter).await?.context("there is no such counter")?;
        Ok(std::str::from_utf8(&value)?.parse()?)
    }

    async fn see(&mut self, key: &str, seen: &mut Seen) -> Result<()> {
        seen.value = self.get(key).await?.unwrap_or_default();
        Ok(())
    }

    async fn swap(&mut self, key: &str, seen: &mut Seen, value: &[u8]) -> Result<bool> {
        self.command.clear();
        self.command.arg("EVALSHA").arg(&self.scripts.swap).arg(1).arg(key).arg(&seen.value).arg(value);
        match self.send().await? {
            Value::Int(1) => {
                seen.value.clear();
                seen.value.extend_from_slice(value);
                Ok(true)
            }
            Value::BulkString(held) => {
                seen.value = held;
                Ok(false)
            }
            other => bail!("answered {other:?}"),
        }
    }

    async fn mixed(&mut self, request: &Mixed) -> Result<()> {
        let Mixed { take, release, first, keys, value, counters, sum } = request;
        let command = &mut self.command;
        command.clear();
        command.arg("EVALSHA").arg(&self.scripts.mixed).arg(2 + keys.len() + counters.len());
        command.arg(take).arg(release);
        for key in keys.iter().chain(counters) {
            command.arg(key);
        }
        command.arg(&self.tokens.worker).arg(value).arg(keys.len()).arg(u8::from(*first));
        match self.send().await? {
            Value::Array(sums) => {
                let expected = i64::try_from(*sum)?;
                let right =
                    sums.len() == counters.len() && sums.iter().all(|sum| *sum == Value::Int(expected));
                ensure!(right, "the counters are {sums:?} and not {sum}");
                Ok(())
            }
            other => bail!("it can't have the locks, or else: {other:?}"),
        }
    }

    async fn lock(&mut self, lock: &str) -> Result<()> {
        self.name_lock(lock);
        let (token, mut waits) = (self.tokens.next(), false);
        loop {
            self.about_lock(|scripts| &scripts.lock, lock).arg(&token).arg(LEASE_MS).arg(u8::from(waits));
            if self.number().await? == 1 {
                self.held = token.into_bytes();
                return Ok(());
            }
            waits = true;
            self.command.clear();
            self.command.arg("BRPOP").arg(&self.handed).arg(WAIT_S);
            match self.send().await? {
                Value::Array(answer) => match <[Value; 2]>::try_from(answer) {
                    Ok([_, Value::BulkString(token)]) => {
                        self.held = token;
                        return Ok(());
                    }
                    other => bail!("answered {other:?}"),
                },
                Value::Nil => {}
                other => bail!("answered {other:?}"),
            }
        }
    }

    async fn unlock(&mut self, lock: &str) -> Result<()> {
        self.name_lock(lock);
        let (held, next) = (std::mem::take(&mut self.held), self.tokens.next());
        self.about_lock(|scripts| &scripts.unlock, lock).arg(held).arg(next).arg(LEASE_MS);
        ensure!(self.number().await? == 1, "{lock} was not held any more");
        Ok(())
    }

    async fn publish(&mut self, keys: &[String], value: &[u8]) -> Result<()> {
        let mut all = redis::pipe();
        all.atomic().cmd("MSET");
        for key in keys {
            all.arg(key).arg(value);
        }
        for key in keys {
            all.cmd("PUBLISH").arg(key).arg(value);
        }
        let answers: Vec<Value> = all.query_async(&mut self.connection).await?;
        let right = answers.len() == 1 + keys.len() && answers[0] == Value::Okay;
        ensure!(right, "a write with its messages answered {answers:?}");
        Ok(())
    }
}
