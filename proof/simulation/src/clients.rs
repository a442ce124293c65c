//! Clients that do a bit of everything, each with its own liking, on few keys, so that they are in each other's way.

use crate::recorder::Fate;
use crate::world::{Call, Caller, World};
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a request with an idempotency id is sent until its client gives up.
const SENDS_MAX: usize = 15;

/// What a client may do next.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Set,
    SetIf,
    Delete,
    Get,
    Swap,
    Add,
    AddIf,
    SetCounter,
    Lock,
    Once,
    Watch,
    List,
}

impl Deed {
    const ALL: [Self; 12] = [
        Self::Set,
        Self::SetIf,
        Self::Delete,
        Self::Get,
        Self::Swap,
        Self::Add,
        Self::AddIf,
        Self::SetCounter,
        Self::Lock,
        Self::Once,
        Self::Watch,
        Self::List,
    ];
}

/// One client.
#[derive(Debug)]
pub struct Client {
    world: Arc<World>,
    caller: Caller,
    account: String,
    /// The place of the frontend that it asks.
    site: usize,
    /// What it likes to do; some deeds several times.
    likes: Vec<Deed>,
    /// The locks that it believes to hold, with their handles.
    held: Vec<(String, u64)>,
    /// The versions that it has seen last.
    versions: BTreeMap<String, u64>,
    /// The counters that it has seen last.
    counters: BTreeMap<String, i64>,
}

impl Client {
    /// A client with a liking of its own.
    #[must_use]
    pub fn new(world: &Arc<World>, seed: u64) -> Self {
        let mut caller = world.caller(seed);
        let random = &mut caller.random;
        let account = random.pick(&world.plan.account_names()).clone();
        let site = random.below(world.plan.frontends as u64) as usize;
        let mut likes = Vec::new();
        for deed in Deed::ALL {
            let times = *random.pick(&[0, 0, 1, 2, 5]);
            likes.extend(std::iter::repeat_n(deed, times));
        }
        if likes.is_empty() {
            likes.push(Deed::Lock);
        }
        let (held, versions, counters) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { world: Arc::clone(world), caller, account, site, likes, held, versions, counters }
    }

    /// Makes all its requests.
    pub async fn run(mut self) {
        for _ in 0..self.world.plan.requests {
            let pause = self.caller.random.time(self.world.plan.pause_ms_max);
            tokio::time::sleep(pause).await;
            if !self.held.is_empty() && self.caller.random.happens(600) {
                self.use_lock().await;
            } else {
                let deed = *self.caller.random.pick(&self.likes);
                self.act(deed).await;
            }
        }
    }

    fn key(&mut self) -> String {
        format!("k{}", self.caller.random.below(self.world.plan.keys))
    }

    async fn send(&mut self, endpoint: Endpoint, body: Value) -> Fate {
        if self.caller.random.happens(100) {
            self.site = self.caller.random.below(self.world.plan.frontends as u64) as usize;
        }
        let call = Call { site: self.site, account: self.account.clone(), endpoint, body };
        let fate = self.world.call(&mut self.caller, &call).await;
        if let Fate::Answered(200, answer) = &fate {
            self.learn(&call.body, answer);
        } else if !matches!(fate, Fate::Answered(..)) {
            // Elsewhere it may go better, and not at once.
            self.site = (self.site + 1) % self.world.plan.frontends;
            tokio::time::sleep(Duration::from_millis(self.caller.random.between(1, 300))).await;
        }
        fate
    }

    async fn db(&mut self, body: Value) -> Fate {
        self.send(Endpoint::Db, body).await
    }

    /// Remembers what an answer tells.
    fn learn(&mut self, body: &Value, answer: &Value) {
        if let (Some(id), Some(handle)) = (body["LockID"].as_str(), answer["Lock"].as_u64()) {
            self.held.retain(|(held, _)| held != id);
            self.held.push((id.to_owned(), handle));
        }
        for set in body["KVSet"].as_array().into_iter().flatten() {
            if let (Some(key), Some(version)) = (set["Key"].as_str(), answer["Version"].as_u64()) {
                let version = if set["Delete"] == true { 0 } else { version };
                self.versions.insert(key.to_owned(), version);
            }
        }
        for read in answer["KV"].as_array().into_iter().flatten().chain(std::iter::once(answer)) {
            if let (Some(key), Some(version)) = (read["Key"].as_str(), read["Version"].as_u64()) {
                self.versions.insert(key.to_owned(), version);
            }
        }
        for counter in answer["Atomic"].as_array().into_iter().flatten() {
            if let (Some(key), Some(value)) = (counter["Key"].as_str(), counter["Value"].as_i64()) {
                self.counters.insert(key.to_owned(), value);
            }
        }
    }

    async fn act(&mut self, deed: Deed) {
        let key = self.key();
        let body = match deed {
            Deed::Set => json!({"KVSet": [self.set(&key)]}),
            Deed::SetIf => {
                let mut set = self.set(&key);
                set["IfVersion"] = self.versions.get(&key).copied().unwrap_or_default().into();
                json!({"KVSet": [set]})
            }
            Deed::Delete => json!({"KVSet": [{"Key": key, "Delete": true}], "KVGet": [{"Key": key}]}),
            Deed::Get => {
                let other = self.key();
                json!({"KVGet": [{"Key": key}, {"Key": other}], "Atomic": [{"Key": other}]})
            }
            Deed::Swap => json!({"KVGet": [{"Key": key}], "KVSet": [self.set(&key)]}),
            Deed::Add => self.add(&key),
            Deed::AddIf => {
                let known = self.counters.get(&key).copied().unwrap_or_default();
                json!({"Atomic": [{"Key": key, "Add": 1, "IfEq": known}]})
            }
            Deed::SetCounter => match self.caller.random.below(6) {
                0 => json!({"Atomic": [{"Key": key, "Delete": true}]}),
                _ => json!({"Atomic": [{"Key": key, "Set": self.caller.random.below(1_000)}]}),
            },
            Deed::Lock => self.lock(),
            Deed::Once => return self.once().await,
            Deed::Watch => return self.watch(key).await,
            Deed::List => return self.list().await,
        };
        self.db(body).await;
    }

    fn set(&mut self, key: &str) -> Value {
        let mut set = json!({"Key": key, "Value": self.world.recorder.new_value()});
        if self.caller.random.happens(300) {
            set["TTL"] = self.caller.random.between(1, 3).into();
        }
        set
    }

    fn add(&mut self, key: &str) -> Value {
        // A sequence of its own is only ever added to, so that each number is given out once.
        let is_sequence = self.caller.random.happens(500);
        let key = if is_sequence { "sequence" } else { key };
        json!({"Atomic": [{"Key": key, "Add": self.caller.random.between(1, 3)}]})
    }

    fn lock(&mut self) -> Value {
        let lock = self.key();
        let random = &mut self.caller.random;
        let mut body = json!({
            "LockID": lock,
            "LockDur": random.between(1, 5),
            "LockWait": *random.pick(&[0, 1, 3, 10]),
        });
        if random.happens(300) {
            body["LockOwner"] = format!("client-{}", self.caller.number).into();
        }
        self.beside(&mut body);
        body
    }

    /// Puts writes beside what a request does with locks.
    fn beside(&mut self, body: &mut Value) {
        if self.caller.random.happens(300) {
            let key = self.key();
            body["KVSet"] = json!([self.set(&key)]);
        }
        if self.caller.random.happens(300) {
            body["Atomic"] = json!([{"Key": self.key(), "Add": 1}]);
        }
    }

    /// Does something with a lock that it believes to hold: extends it, passes on from it, gives it back, writes
    /// under it, or lets its lease run out.
    async fn use_lock(&mut self) {
        let at = self.caller.random.below(self.held.len() as u64) as usize;
        let (id, handle) = self.held.swap_remove(at);
        let mut body = json!({"UnlockID": id, "Unlock": handle});
        match self.caller.random.below(8) {
            0 => return,
            1 => body["LockDur"] = 0.into(),
            2 => body["LockDur"] = self.caller.random.between(1, 5).into(),
            3 => {
                for (field, value) in self.lock().as_object().into_iter().flatten() {
                    body[field] = value.clone();
                }
            }
            _ => {}
        }
        if body["LockDur"].is_number() && body["LockID"].is_null() {
            body["LockID"] = id.clone().into();
        }
        if body["KVSet"].is_null() && body["Atomic"].is_null() {
            self.beside(&mut body);
        }
        if self.caller.random.happens(500) {
            let pause = self.caller.random.time(2_000);
            tokio::time::sleep(pause).await;
        }
        let fate = self.db(body).await;
        // What may not have happened is tried again some time.
        if !matches!(fate, Fate::Answered(..)) && self.held.iter().all(|(held, _)| *held != id) {
            self.held.push((id, handle));
        }
    }

    /// Sends a request with an idempotency id again and again until it is told what became of it, as a real client
    /// does; sometimes once more, or with the same id and another body.
    async fn once(&mut self) {
        let key = self.key();
        let mut body = match self.caller.random.below(4) {
            0 => json!({"KVSet": [self.set(&key)]}),
            1 => self.lock(),
            _ => self.add(&key),
        };
        let id = format!("id-{}", self.world.recorder.new_value());
        body["IdempotencyIDs"] = json!([id]);
        for _ in 0..SENDS_MAX {
            match self.db(body.clone()).await {
                Fate::Answered(200, _) => break,
                Fate::Answered(409, answer) if answer["Code"] == "duplicate_request" => {
                    self.learn(&body, &answer["Response"]);
                    break;
                }
                Fate::Answered(..) => break,
                Fate::NotApplied | Fate::Unknown => {}
            }
        }
        if self.caller.random.happens(200) {
            self.db(body.clone()).await;
        }
        if self.caller.random.happens(100) {
            body["KVSet"] = json!([self.set(&key)]);
            self.db(body).await;
        }
    }

    /// A chain of watches that passes the version on.
    async fn watch(&mut self, key: String) {
        for _ in 0..self.caller.random.between(1, 4) {
            let known = self.versions.get(&key).copied().unwrap_or_default();
            let wait = *self.caller.random.pick(&[0, 1, 2, 10]);
            let body = json!({"ID": key, "Version": known, "Wait": wait});
            if !matches!(self.send(Endpoint::Watch, body).await, Fate::Answered(..)) {
                return;
            }
        }
    }

    async fn list(&mut self) {
        let kind = *self.caller.random.pick(&["KV", "Counters", "Locks"]);
        self.send(Endpoint::List, json!({"Kind": kind})).await;
    }
}
