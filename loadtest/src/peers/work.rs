//! The scenarios as workers, the same for every peer, and what has to be true when they are done.

use crate::drive::{self, Unit, Worker};
use crate::outcome::Outcome;
use crate::peers::checks::{Author, Holders, LastWrites, Sums};
use crate::peers::client::{Client, Mixed, Peer, Seen};
use crate::peers::text::{Name, Value};
use crate::plan::Parameters;
use crate::random::Random;
use anyhow::{Context as _, Result, ensure};
use std::cell::RefCell;
use std::rc::Rc;

/// Keys that one request prepares.
const FILL_KEYS: usize = 500;
/// Keys that are read at the end; of more, a sample.
const VERIFY_KEYS_MAX: usize = 5_000;
/// Part of the mixed request.
const MIXED_KEYS: usize = 100;
const MIXED_COUNTERS: usize = 50;

/// A run of a scenario against a peer.
#[derive(Debug)]
pub struct Run<'a, P> {
    /// The peer.
    pub peer: &'a P,
    /// How its keys begin; no other run's do.
    pub name: String,
    /// The settings.
    pub parameters: &'a Parameters,
}

/// One simulated client: its connection, and what it works on.
#[derive(Debug)]
struct Hand<C, S> {
    client: C,
    worker: usize,
    random: Random,
    name: Name,
    keys: usize,
    shared: Rc<RefCell<S>>,
}

impl<C: Client, S> Hand<C, S> {
    fn next_key(&mut self) -> usize {
        self.random.below(self.keys)
    }
}

/// Of many numbers some, evenly spread.
fn sample<T>(all: Vec<T>) -> impl Iterator<Item = T> {
    let step = all.len().div_ceil(VERIFY_KEYS_MAX).max(1);
    all.into_iter().step_by(step)
}

impl<P: Peer> Run<'_, P> {
    fn keys(&self) -> usize {
        self.parameters.accounts * self.parameters.keys
    }

    async fn hands<S>(&self, shared: S) -> Result<(Vec<Hand<P::Client, S>>, Rc<RefCell<S>>)> {
        let shared = Rc::new(RefCell::new(shared));
        let clients = self.peer.connect(self.parameters.connections).await?;
        let hands = clients.into_iter().enumerate().map(|(worker, client)| Hand {
            client,
            worker,
            random: Random::new(worker as u64),
            name: self.key_name(),
            keys: self.keys(),
            shared: Rc::clone(&shared),
        });
        Ok((hands.collect(), shared))
    }

    /// For the key of each number a name.
    pub fn key_name(&self) -> Name {
        Name::new(&self.name, self.parameters.keys)
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// When the peer does not accept it.
    pub async fn client(&self) -> Result<P::Client> {
        self.peer.connect(1).await?.pop().context("no connection")
    }

    async fn drive<W: Worker>(&self, workers: Vec<W>) -> Result<(Outcome, Vec<W>)> {
        let processes = self.peer.process().processes();
        let (measured, workers) = drive::run(&processes, workers, self.parameters).await?;
        Ok((Outcome::of(measured), workers))
    }

    /// `kv-write`.
    ///
    /// # Errors
    /// For a wrong answer, or if an update is lost.
    pub async fn kv_write(&self) -> Result<Outcome> {
        let (hands, writes) = self.hands(LastWrites::new(self.keys())).await?;
        let bytes = self.parameters.value_bytes;
        let workers =
            hands.into_iter().map(|hand| Write { value: Value::new(hand.worker, bytes), sequence: 0, hand });
        let (outcome, _) = self.drive(workers.collect()).await?;
        let (writes, mut client, mut name) = (writes.take(), self.client().await?, self.key_name());
        let written: Vec<usize> = writes.written().collect();
        let all = written.len() <= VERIFY_KEYS_MAX;
        let mut counted = Some(0);
        for key in sample(written) {
            let value = client.get(name.of(key)).await?.with_context(|| format!("key {key} is gone"))?;
            writes.check(key, Value::author(value.as_ref())?)?;
            counted = client.writes(name.of(key)).await?.zip(counted).map(|(writes, sum)| sum + writes);
        }
        if let Some(counted) = counted.filter(|_| all) {
            ensure!(
                counted == writes.writes(),
                "{} writes were answered and {counted} happened",
                writes.writes()
            );
        }
        Ok(outcome)
    }

    /// `kv-read`, of keys that are all there.
    ///
    /// # Errors
    /// For a wrong answer.
    pub async fn kv_read(&self) -> Result<Outcome> {
        let value = Value::new(0, self.parameters.value_bytes).of(1).to_vec();
        let (mut client, mut name) = (self.client().await?, self.key_name());
        let mut names = Vec::with_capacity(FILL_KEYS);
        for key in 0..self.keys() {
            names.push(name.of(key).to_owned());
            if names.len() == FILL_KEYS || key + 1 == self.keys() {
                client.fill(&names, &value).await?;
                names.clear();
            }
        }
        let (hands, _) = self.hands(()).await?;
        let value: Rc<[u8]> = value.into();
        let workers = hands.into_iter().map(|hand| Read { hand, value: Rc::clone(&value) });
        Ok(self.drive(workers.collect()).await?.0)
    }

    /// `counter`.
    ///
    /// # Errors
    /// For a wrong answer, or if an addition is lost or counted twice.
    pub async fn counter(&self) -> Result<Outcome> {
        let (hands, sums) = self.hands(Sums::new(self.keys())).await?;
        let (outcome, _) = self.drive(hands.into_iter().map(Count).collect()).await?;
        let (sums, mut client, mut name) = (sums.take(), self.client().await?, self.key_name());
        sums.check()?;
        for (counter, added) in sample(sums.added().collect()) {
            let sum = client.sum(name.of(counter)).await?;
            ensure!(sum == added, "counter {counter} is {sum} after {added} were added");
        }
        Ok(outcome)
    }

    /// `cas`: each unit reads, and swaps until it succeeds.
    ///
    /// # Errors
    /// For a wrong answer, or if a swap is lost.
    pub async fn cas(&self) -> Result<Outcome> {
        let (hands, sums) = self.hands(Sums::new(self.keys())).await?;
        let bytes = self.parameters.value_bytes;
        let workers = hands.into_iter().map(|hand| Swap {
            seen: Seen::default(),
            value: Value::new(hand.worker, bytes),
            swaps: 0,
            conflicts: 0,
            hand,
        });
        let (outcome, workers) = self.drive(workers.collect()).await?;
        let (sums, mut client, mut name) = (sums.take(), self.client().await?, self.key_name());
        sums.check()?;
        for (key, swaps) in sample(sums.added().collect()) {
            let value = client.get(name.of(key)).await?.with_context(|| format!("key {key} is gone"))?;
            let last = Value::author(value.as_ref())?.sequence;
            ensure!(last == swaps, "key {key} was swapped {last} times, and {swaps} swaps were answered");
        }
        let swaps: u64 = workers.iter().map(|worker| worker.swaps).sum();
        let conflicts: u64 = workers.iter().map(|worker| worker.conflicts).sum();
        Ok(outcome.with("conflicts a success", conflicts as f64 / swaps.max(1) as f64))
    }

    /// `mixed`: each worker passes from one lock to another, and has keys and counters of its own.
    ///
    /// # Errors
    /// For a wrong answer, or if something of it is lost.
    pub async fn mixed(&self) -> Result<Outcome> {
        let (hands, _) = self.hands(()).await?;
        let workers = hands.into_iter().map(|hand| {
            let worker = hand.worker;
            let name = |kind: &str, number: usize| format!("{}:{worker:06}:{kind}-{number:06}", self.name);
            let request = Mixed {
                take: name("lock", 0),
                release: name("lock", 1),
                first: true,
                keys: (0..MIXED_KEYS).map(|number| name("key", number)).collect(),
                value: Vec::new(),
                counters: (0..MIXED_COUNTERS).map(|number| name("counter", number)).collect(),
                sum: 0,
            };
            Mix { client: hand.client, value: Value::new(worker, self.parameters.value_bytes), request }
        });
        let (outcome, workers) = self.drive(workers.collect()).await?;
        let mut client = self.client().await?;
        for Mix { request, .. } in workers {
            // Both ends of each list, for all of a request happens or nothing.
            for key in [0, MIXED_KEYS - 1] {
                let value = client.get(&request.keys[key]).await?.context("a key is gone")?;
                ensure!(value.as_ref() == request.value, "the last write of {} is lost", request.keys[key]);
            }
            for counter in [0, MIXED_COUNTERS - 1] {
                let sum = client.sum(&request.counters[counter]).await?;
                ensure!(sum == request.sum, "{} is {sum} after {}", request.counters[counter], request.sum);
            }
        }
        Ok(outcome)
    }

    /// `lock-pairs`.
    ///
    /// # Errors
    /// For a wrong answer, above all two holders.
    pub async fn lock_pairs(&self) -> Result<Outcome> {
        let (hands, _) = self.hands(Holders::new(self.keys())).await?;
        let workers = hands.into_iter().map(|hand| Contend { hand, grants: 0 });
        let (outcome, workers) = self.drive(workers.collect()).await?;
        let grants = || workers.iter().map(|worker| worker.grants);
        let (least, most) = (grants().min().unwrap_or_default(), grants().max().unwrap_or_default());
        Ok(outcome
            .with("grants of the one with fewest", least as f64)
            .with("grants of the one with most", most as f64))
    }
}

struct Write<C> {
    hand: Hand<C, LastWrites>,
    value: Value,
    sequence: u64,
}

impl<C: Client> Worker for Write<C> {
    async fn unit(&mut self) -> Result<Unit> {
        let key = self.hand.next_key();
        self.sequence += 1;
        let begun = self.hand.shared.borrow_mut().begin();
        let (name, value) = (self.hand.name.of(key), self.value.of(self.sequence));
        self.hand.client.put(name, value).await?;
        let bytes = name.len() + value.len();
        let author = Author { worker: self.hand.worker, sequence: self.sequence };
        self.hand.shared.borrow_mut().end(key, begun, author);
        Ok(Unit::one(bytes))
    }
}

struct Read<C> {
    hand: Hand<C, ()>,
    value: Rc<[u8]>,
}

impl<C: Client> Worker for Read<C> {
    async fn unit(&mut self) -> Result<Unit> {
        let key = self.hand.next_key();
        let name = self.hand.name.of(key);
        let value = self.hand.client.get(name).await?;
        let value = value.as_ref().map(AsRef::as_ref).unwrap_or_default();
        ensure!(*value == *self.value, "{name} holds {:?}", String::from_utf8_lossy(value));
        Ok(Unit::one(name.len() + value.len()))
    }
}

struct Count<C>(Hand<C, Sums>);

impl<C: Client> Worker for Count<C> {
    async fn unit(&mut self) -> Result<Unit> {
        let Self(hand) = self;
        let counter = hand.next_key();
        let name = hand.name.of(counter);
        let sum = hand.client.add(name).await?;
        hand.shared.borrow_mut().add(counter, sum);
        Ok(Unit::one(name.len() + size_of::<u64>()))
    }
}

struct Swap<C> {
    hand: Hand<C, Sums>,
    seen: Seen,
    value: Value,
    swaps: u64,
    conflicts: u64,
}

impl<C: Client> Worker for Swap<C> {
    async fn unit(&mut self) -> Result<Unit> {
        let key = self.hand.next_key();
        let name = self.hand.name.of(key);
        let seen = &mut self.seen;
        self.hand.client.see(name, seen).await?;
        loop {
            // Each value has the number of the swap that made it, so none may come twice.
            let before = if seen.value.is_empty() { 0 } else { Value::author(&seen.value)?.sequence };
            let value = self.value.of(before + 1);
            if self.hand.client.swap(name, seen, value).await? {
                self.swaps += 1;
                self.hand.shared.borrow_mut().add(key, before + 1);
                return Ok(Unit::one(name.len() + value.len()));
            }
            self.conflicts += 1;
        }
    }
}

struct Mix<C> {
    client: C,
    value: Value,
    request: Mixed,
}

impl<C: Client> Worker for Mix<C> {
    async fn unit(&mut self) -> Result<Unit> {
        let request = &mut self.request;
        request.sum += 1;
        request.value.clear();
        request.value.extend_from_slice(self.value.of(request.sum));
        self.client.mixed(request).await?;
        request.first = false;
        std::mem::swap(&mut request.take, &mut request.release);
        let (keys, counters) = (request.keys.len(), request.counters.len());
        let names: usize = request.keys.iter().chain(&request.counters).map(String::len).sum();
        let bytes = names
            + keys * request.value.len()
            + counters * size_of::<u64>()
            + request.take.len()
            + request.release.len();
        Ok(Unit { operations: u32::try_from(1 + keys + counters)?, bytes: bytes as u64 })
    }
}

struct Contend<C> {
    hand: Hand<C, Holders>,
    grants: u64,
}

impl<C: Client> Worker for Contend<C> {
    async fn unit(&mut self) -> Result<Unit> {
        let lock = self.hand.next_key();
        let name = self.hand.name.of(lock);
        self.hand.client.lock(name).await?;
        self.hand.shared.borrow_mut().take(lock, self.hand.worker)?;
        self.grants += 1;
        self.hand.shared.borrow_mut().release(lock);
        self.hand.client.unlock(name).await?;
        Ok(Unit { operations: 2, bytes: 2 * name.len() as u64 })
    }
}
