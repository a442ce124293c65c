//! Redis through the `redis` crate: every write synced before it is answered, one connection a worker.
//!
//! The crate and not `fred`: its releases come every few weeks, while fred's last one is more than a year
//! old, and most of the field uses it.

use crate::peers::Start;
use crate::peers::client::{Client, Mixed, Peer, Seen};
use crate::peers::process::{Place, Process, find, free_ports};
use crate::peers::watch::Notices;
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
/// Releases a lock if the caller holds it, and leaves one token for those who wait. A token that nobody has
/// taken is enough: whoever takes it looks at the lock again.
const UNLOCK: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('LLEN', KEYS[2]) == 0 then redis.call('LPUSH', KEYS[2], 1) end
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
/// A waiter looks at the lock again after this, even if nobody told it to: one that took a token and died
/// took the wake-up with it.
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
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let token = format!("{number}-{:x}", since_epoch.as_nanos()).into_bytes();
            connections.push(Connection {
                connection,
                command: Cmd::new(),
                scripts,
                token,
                waiters: Vec::new(),
            });
        }
        Ok(connections)
    }

    async fn watch(&self, key: &str, watchers: usize, notices: &Rc<Notices>) -> Result<JoinSet<Result<()>>> {
        let mut tasks = JoinSet::new();
        for _ in 0..watchers {
            let mut subscription = self.client.get_async_pubsub().await?;
            subscription.subscribe(key).await?;
            let notices = Rc::clone(notices);
            let mut messages = subscription.into_on_message();
            tasks.spawn_local(async move {
                while let Some(message) = messages.next().await {
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
    unlock: String,
    mixed: String,
}

impl Scripts {
    async fn load(connection: &mut MultiplexedConnection) -> Result<Self> {
        let mut load = async |script: &str| {
            redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async::<String>(connection).await
        };
        Ok(Self { swap: load(SWAP).await?, unlock: load(UNLOCK).await?, mixed: load(MIXED).await? })
    }
}

/// A worker's connection.
#[derive(Debug)]
pub struct Connection {
    connection: MultiplexedConnection,
    /// Used again and again, so that its memory is.
    command: Cmd,
    scripts: Rc<Scripts>,
    /// What this worker writes into the locks that it holds.
    token: Vec<u8>,
    /// Room for the name of a list.
    waiters: Vec<u8>,
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

    /// Lays out the name of the list on which the waiters of a lock wait.
    fn name_waiters(&mut self, lock: &str) {
        self.waiters.clear();
        self.waiters.extend_from_slice(lock.as_bytes());
        self.waiters.extend_from_slice(b":waiters");
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
        command.arg(&self.token).arg(value).arg(keys.len()).arg(u8::from(*first));
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
        loop {
            self.command.clear();
            self.command.arg("SET").arg(lock).arg(&self.token).arg("NX").arg("PX").arg(LEASE_MS);
            match self.send().await? {
                Value::Okay => return Ok(()),
                Value::Nil => {}
                other => bail!("answered {other:?}"),
            }
            self.name_waiters(lock);
            self.command.clear();
            self.command.arg("BLPOP").arg(&self.waiters).arg(WAIT_S);
            let woken = self.send().await?;
            ensure!(matches!(woken, Value::Array(_) | Value::Nil), "answered {woken:?}");
        }
    }

    async fn unlock(&mut self, lock: &str) -> Result<()> {
        self.name_waiters(lock);
        self.command.clear();
        let command = self.command.arg("EVALSHA").arg(&self.scripts.unlock);
        command.arg(2).arg(lock).arg(&self.waiters).arg(&self.token);
        ensure!(self.number().await? == 1, "{lock} was not held any more");
        Ok(())
    }

    async fn publish(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let mut both = redis::pipe();
        both.atomic().cmd("SET").arg(key).arg(value).cmd("PUBLISH").arg(key).arg(value);
        let (Value::Okay, Value::Int(_)) = both.query_async(&mut self.connection).await? else {
            bail!("a write with its message was refused")
        };
        Ok(())
    }
}
