//! The naive model: the contract retold in the plainest way, over maps of structs and bodies of
//! plain JSON. It shares nothing with the core, and knows nothing of rows.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Outcomes that random sequences must reach, as [`kind_of`] names them.
pub const KINDS: [&str; 14] = [
    "applied read",
    "applied write",
    "applied grant",
    "applied grant after expiry",
    "applied extend",
    "applied pass",
    "blocked by a named owner",
    "blocked by nobody named",
    "duplicate_request",
    "duplicate_request same",
    "not_locked",
    "precondition_failed version",
    "precondition_failed value",
    "counter_overflow",
];

/// Every account.
#[derive(Clone, Debug, Default)]
pub struct World {
    accounts: BTreeMap<usize, Partition>,
}

/// One account.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    revision: u64,
    /// No answer is given as of an earlier time than this.
    mark_ms: u64,
    pub values: BTreeMap<String, StoredValue>,
    pub counters: BTreeMap<String, Counter>,
    pub locks: BTreeMap<String, Lease>,
    ids: BTreeMap<String, Used>,
    /// What some answer has shown as expired, by what it is, its name and its revision.
    buried: BTreeSet<(&'static str, String, u64)>,
}

#[derive(Clone, Debug)]
pub struct StoredValue {
    pub version: u64,
    json: Value,
    /// 0 = never.
    expires_ms: u64,
}

#[derive(Clone, Debug)]
pub struct Counter {
    revision: u64,
    pub number: i64,
}

#[derive(Clone, Debug)]
pub struct Lease {
    pub handle: u64,
    granted_ms: u64,
    changed_at: u64,
    owner: String,
    till_ms: u64,
}

#[derive(Clone, Debug)]
struct Used {
    revision: u64,
    until_ms: u64,
    body: Value,
    answer: Value,
}

/// The time of one request, and what it found expired.
struct Look {
    now_ms: u64,
    expired: Vec<(&'static str, String, u64, u64)>,
}

impl Look {
    /// Whether the thing is there now. What was once shown as expired must not be.
    fn is_alive(&mut self, of: &Partition, what: &'static str, id: &str, revision: u64, end_ms: u64) -> bool {
        if end_ms != 0 && self.now_ms >= end_ms {
            self.expired.push((what, id.to_owned(), revision, end_ms));
            return false;
        }
        let name = (what, id.to_owned(), revision);
        assert!(!of.buried.contains(&name), "{name:?} was shown as expired and is alive again");
        true
    }
}

impl World {
    pub fn account(&mut self, account: usize) -> &mut Partition {
        self.accounts.entry(account).or_default()
    }

    /// Every moment at which something ends, in order.
    pub fn expiries(&self) -> Vec<u64> {
        let mut all = BTreeSet::new();
        for account in self.accounts.values() {
            all.extend(account.values.values().map(|value| value.expires_ms));
            all.extend(account.locks.values().map(|lease| lease.till_ms));
            all.extend(account.ids.values().map(|used| used.until_ms));
        }
        all.remove(&0);
        all.into_iter().collect()
    }

    /// Forgets what has ended; a lock only a day later.
    pub fn sweep(&mut self, now_ms: u64) {
        for account in self.accounts.values_mut() {
            account.values.retain(|_, value| value.expires_ms == 0 || value.expires_ms > now_ms);
            account.locks.retain(|_, lease| lease.till_ms + 86_400_000 > now_ms);
            account.ids.retain(|_, used| used.until_ms > now_ms);
        }
    }

    /// Everything, as JSON. An account that nothing was written to is not there.
    pub fn stored(&self) -> Value {
        let there = |partition: &Partition| partition.revision > 0 || partition.mark_ms > 0;
        let accounts = self.accounts.iter().filter(|(_, partition)| there(partition));
        accounts.map(|(account, partition)| (account.to_string(), partition.stored())).collect()
    }
}

impl Partition {
    pub fn now_ms(&self, clock_ms: u64) -> u64 {
        clock_ms.max(self.mark_ms)
    }

    /// The version that a client would be shown now.
    pub fn version(&self, key: &str, clock_ms: u64) -> u64 {
        match self.values.get(key) {
            Some(value) if value.expires_ms == 0 || value.expires_ms > self.now_ms(clock_ms) => value.version,
            _ => 0,
        }
    }

    pub fn is_held(&self, lock: &str, clock_ms: u64) -> bool {
        self.locks.get(lock).is_some_and(|lease| lease.till_ms > self.now_ms(clock_ms))
    }

    pub fn fix_mark(&mut self, clock_ms: u64) {
        self.mark_ms = self.now_ms(clock_ms);
    }

    fn stored(&self) -> Value {
        let mut stored = json!({
            "revision": self.revision, "mark_ms": self.mark_ms,
            "Value": {}, "Counter": {}, "Lock": {}, "Idempotency": {},
        });
        for (key, value) in &self.values {
            stored["Value"][key] = json!([value.version, value.expires_ms, value.json]);
        }
        for (key, counter) in &self.counters {
            stored["Counter"][key] = json!([counter.revision, counter.number]);
        }
        for (id, lease) in &self.locks {
            stored["Lock"][id] =
                json!([lease.changed_at, lease.till_ms, lease.handle, lease.granted_ms, lease.owner]);
        }
        for (id, used) in &self.ids {
            // The answer of an id that is over may be gone: another request may have taken the id over
            // beside which it was kept.
            let answer = if used.until_ms > self.mark_ms { used.answer.clone() } else { Value::Null };
            stored["Idempotency"][id] = json!([used.revision, used.until_ms, answer]);
        }
        stored
    }

    /// What becomes of a request: `{"Answer": …}`, an error's body, or `{"Blocked": …}`.
    pub fn outcome(&mut self, body: &Value, queued: bool, clock_ms: u64) -> Value {
        let mut look = Look { now_ms: self.now_ms(clock_ms), expired: Vec::new() };
        let mut after = self.clone();
        let outcome = match after.apply(self, body, queued, &mut look) {
            Ok(applied) => {
                *self = after;
                applied
            }
            Err(refused) => refused,
        };
        for (what, id, revision, end_ms) in look.expired {
            if end_ms > self.mark_ms {
                self.mark_ms = look.now_ms;
            }
            self.buried.insert((what, id, revision));
        }
        outcome
    }

    fn apply(&mut self, before: &Self, body: &Value, queued: bool, look: &mut Look) -> Result<Value, Value> {
        let revision = before.revision + 1;
        before.refuse_duplicates(body, look)?;
        let mut answer = Map::new();
        let granted = self.lock_step(before, body, queued, look, &mut answer)?;
        before.check_conditions(body, look)?;
        let read = before.read_values(body, look);
        let counted = self.change_counters(body, revision)?;
        self.change_values(body, revision, look.now_ms);
        if !counted.is_empty() {
            answer.insert("Atomic".into(), counted.into());
        }
        if !read.is_empty() {
            answer.insert("KV".into(), read.into());
        }
        let changes_counter = list(body, "Atomic").iter().any(is_counter_change);
        let changes_data = changes_counter || !list(body, "KVSet").is_empty();
        if changes_data || !body["LockID"].is_null() {
            answer.insert("Version".into(), revision.into());
        }
        let answer = Value::from(answer);
        for id in list(body, "IdempotencyIDs") {
            let until_ms = look.now_ms + body["IdempotencyTTL"].as_u64().unwrap_or(86_400) * 1_000;
            let used = Used { revision, until_ms, body: body.clone(), answer: answer.clone() };
            self.ids.insert(text(id), used);
        }
        let uses_ids = !list(body, "IdempotencyIDs").is_empty();
        if changes_data || uses_ids || !body["LockID"].is_null() || !body["UnlockID"].is_null() {
            self.revision = revision;
        }
        Ok(json!({"Answer": answer, "Granted": granted}))
    }

    fn refuse_duplicates(&self, body: &Value, look: &mut Look) -> Result<(), Value> {
        for id in list(body, "IdempotencyIDs") {
            let id = text(id);
            let Some(used) = self.ids.get(&id) else { continue };
            if look.is_alive(self, "id", &id, used.revision, used.until_ms) {
                let same = used.body == *body;
                return Err(json!({
                    "Code": "duplicate_request", "ID": id, "Response": used.answer, "SameRequest": same,
                }));
            }
        }
        Ok(())
    }

    /// The lock that is granted, if one is: its handle and its end.
    fn lock_step(
        &mut self,
        before: &Self,
        body: &Value,
        queued: bool,
        look: &mut Look,
        answer: &mut Map<String, Value>,
    ) -> Result<Value, Value> {
        let revision = before.revision + 1;
        if let Some(id) = body["UnlockID"].as_str() {
            let held = before.locks.get(id).filter(|lease| {
                look.is_alive(before, "lock", id, lease.changed_at, lease.till_ms)
                    && body["Unlock"] == lease.handle
            });
            let Some(held) = held else { return Err(json!({"Code": "not_locked", "ID": id})) };
            if body["LockID"] == id {
                let mut lease = held.clone();
                if let Some(dur_s @ 1..) = body["LockDur"].as_u64() {
                    lease.till_ms = look.now_ms + dur_s * 1_000;
                    lease.changed_at = revision;
                }
                if let Some(owner) = body["LockOwner"].as_str() {
                    lease.owner = owner.to_owned();
                    lease.changed_at = revision;
                }
                answer.insert("Lock".into(), lease.handle.into());
                answer.insert("Till".into(), (lease.till_ms / 1_000).into());
                self.locks.insert(id.to_owned(), lease);
                return Ok(Value::Null);
            }
            self.locks.remove(id);
        }
        let Some(id) = body["LockID"].as_str() else { return Ok(Value::Null) };
        let last = before.locks.get(id);
        let is_held =
            last.is_some_and(|lease| look.is_alive(before, "lock", id, lease.changed_at, lease.till_ms));
        if is_held || queued {
            return Err(json!({
                "Blocked": id,
                "Stamp": last.map_or(0, |lease| lease.changed_at),
                "TillMs": last.map_or(look.now_ms, |lease| lease.till_ms),
                "Owner": last.filter(|_| is_held).map_or("", |lease| &lease.owner),
            }));
        }
        let till_ms = look.now_ms + body["LockDur"].as_u64().unwrap() * 1_000;
        let owner = body["LockOwner"].as_str().unwrap_or_default().to_owned();
        let granted_ms = look.now_ms;
        let lease = Lease { handle: revision, granted_ms, changed_at: revision, owner, till_ms };
        self.locks.insert(id.to_owned(), lease);
        answer.insert("Lock".into(), revision.into());
        answer.insert("Till".into(), (till_ms / 1_000).into());
        if last.is_some() {
            answer.insert("Expired".into(), true.into());
        }
        Ok(json!([revision, till_ms]))
    }

    fn check_conditions(&self, body: &Value, look: &mut Look) -> Result<(), Value> {
        for set in list(body, "KVSet") {
            let key = text(&set["Key"]);
            let Some(expected) = set["IfVersion"].as_u64() else { continue };
            let version = self.look_up(&key, look).map_or(0, |value| value.version);
            if version != expected {
                return Err(json!({"Code": "precondition_failed", "Key": key, "Version": version}));
            }
        }
        for atomic in list(body, "Atomic") {
            let key = text(&atomic["Key"]);
            let Some(expected) = atomic["IfEq"].as_i64() else { continue };
            let number = self.counters.get(&key).map_or(0, |counter| counter.number);
            if number != expected {
                return Err(json!({"Code": "precondition_failed", "Key": key, "Value": number}));
            }
        }
        Ok(())
    }

    fn look_up(&self, key: &str, look: &mut Look) -> Option<&StoredValue> {
        let value = self.values.get(key)?;
        look.is_alive(self, "value", key, value.version, value.expires_ms).then_some(value)
    }

    fn read_values(&self, body: &Value, look: &mut Look) -> Vec<Value> {
        let read = |get: &Value| match self.look_up(&text(&get["Key"]), look) {
            Some(value) => json!({"Key": get["Key"], "Version": value.version, "Value": value.json}),
            None => json!({"Key": get["Key"], "Version": 0}),
        };
        list(body, "KVGet").iter().map(read).collect()
    }

    fn change_counters(&mut self, body: &Value, revision: u64) -> Result<Vec<Value>, Value> {
        let mut counted = Vec::new();
        for atomic in list(body, "Atomic") {
            let key = text(&atomic["Key"]);
            let mut number = self.counters.get(&key).map_or(0, |counter| counter.number);
            if let Some(add) = atomic["Add"].as_i64() {
                let sum = i128::from(number) + i128::from(add);
                number = i64::try_from(sum).map_err(|_| json!({"Code": "counter_overflow", "Key": key}))?;
            }
            if let Some(set) = atomic["Set"].as_i64() {
                number = set;
            }
            if atomic["Delete"] == true {
                number = 0;
                self.counters.remove(&key);
            } else if is_counter_change(atomic) {
                self.counters.insert(key.clone(), Counter { revision, number });
            }
            counted.push(json!({"Key": key, "Value": number}));
        }
        Ok(counted)
    }

    fn change_values(&mut self, body: &Value, revision: u64, now_ms: u64) {
        for set in list(body, "KVSet") {
            let key = text(&set["Key"]);
            if set["Delete"] == true {
                self.values.remove(&key);
            } else {
                let expires_ms = set["TTL"].as_u64().map_or(0, |ttl_s| now_ms + ttl_s * 1_000);
                let json = set["Value"].clone();
                self.values.insert(key, StoredValue { version: revision, json, expires_ms });
            }
        }
    }
}

/// What sort of outcome it is, finer than its code.
pub fn kind_of(body: &Value, outcome: &Value) -> String {
    let answer = &outcome["Answer"];
    let kind = if outcome["Blocked"].is_string() {
        if outcome["Owner"] == "" { "blocked by nobody named" } else { "blocked by a named owner" }
    } else if let Some(code) = outcome["Code"].as_str() {
        let detail = match code {
            "duplicate_request" if outcome["SameRequest"] == true => " same",
            "precondition_failed" if outcome["Value"].is_null() => " version",
            "precondition_failed" => " value",
            _ => "",
        };
        return format!("{code}{detail}");
    } else if answer["Expired"] == true {
        "applied grant after expiry"
    } else if outcome["Granted"].is_array() && body["UnlockID"].is_string() {
        "applied pass"
    } else if outcome["Granted"].is_array() {
        "applied grant"
    } else if answer["Lock"].is_u64() {
        "applied extend"
    } else if answer["Version"].is_u64() {
        "applied write"
    } else {
        "applied read"
    };
    kind.to_owned()
}

fn is_counter_change(atomic: &Value) -> bool {
    atomic["Add"].is_i64() || atomic["Set"].is_i64() || atomic["Delete"] == true
}

fn list<'a>(body: &'a Value, field: &str) -> &'a [Value] {
    body[field].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
