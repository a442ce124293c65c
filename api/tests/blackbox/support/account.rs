//! An account of a server, and the three routes on it.

use super::{Answer, Connection, Pending, Server, eventually, first_version, raw_values, shared_server};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// An account that no other test uses. Each request has a connection of its own; the connections go to
/// the frontends in turn.
#[derive(Clone, Debug)]
pub struct Account {
    addresses: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
    pub name: String,
    /// Keeps the shared server running.
    _server: Option<Arc<Server>>,
}

/// A new account of the server that tests share.
pub fn shared_account() -> Account {
    let server = shared_server();
    Account { _server: Some(Arc::clone(&server)), ..Account::of(&server, &new_name()) }
}

fn new_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("account-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Account {
    /// An account of a server that the test has to itself.
    pub fn of(server: &Server, name: &str) -> Self {
        let (mut addresses, first) = (server.addresses(), server.address());
        // Each account has another one as its first.
        while addresses[0] != first {
            addresses.rotate_left(1);
        }
        Self::at(&addresses, name)
    }

    /// An account of the frontends with these addresses.
    pub fn at(addresses: &[SocketAddr], name: &str) -> Self {
        Self { addresses: addresses.into(), next: Arc::default(), name: name.to_owned(), _server: None }
    }

    /// The same account, spoken to at one frontend alone: for what a frontend promises only those who
    /// come to it. That is the order of those who wait for a lock, how many `/list` says they are, its
    /// metrics, and the host names that it answers to.
    pub fn on_one_frontend(&self) -> Self {
        Self { addresses: [self.first_address()].into(), ..self.clone() }
    }

    /// The address for a new connection.
    pub fn address(&self) -> SocketAddr {
        self.addresses[self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len()]
    }

    /// Where requests queue up for locks.
    fn first_address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Another account of the same server.
    pub fn other(&self) -> Self {
        self.named(new_name())
    }

    /// The account of this name on the same server.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    pub fn path(&self, route: &str) -> String {
        format!("/{route}/{}", self.name)
    }

    pub async fn db(&self, body: impl AsRef<[u8]>) -> Answer {
        self.begin("db", body).await.answer().await
    }

    pub async fn watch(&self, body: impl AsRef<[u8]>) -> Answer {
        self.begin("watch", body).await.answer().await
    }

    pub async fn list(&self, body: impl AsRef<[u8]>) -> Answer {
        self.begin("list", body).await.answer().await
    }

    /// Sends a request and does not wait for the answer.
    pub async fn begin(&self, route: &str, body: impl AsRef<[u8]>) -> Pending {
        self.begin_at(self.address(), route, body).await
    }

    async fn begin_at(&self, address: SocketAddr, route: &str, body: impl AsRef<[u8]>) -> Pending {
        let mut connection = Connection::open(address).await;
        connection.send(&super::request_bytes(&self.path(route), body.as_ref())).await.unwrap();
        Pending(connection)
    }

    /// Sends a request for a lock and waits until `waiting` requests are queued for it. All that are
    /// sent so stand in one queue, the first frontend's: a queue is a frontend's own.
    pub async fn queue_up(&self, lock: &str, waiting: u64, body: impl AsRef<[u8]>) -> Pending {
        let pending = self.begin_at(self.first_address(), "db", body).await;
        self.until_waiting(lock, waiting).await;
        pending
    }

    /// Waits until this many requests are queued for the lock at the first frontend.
    pub async fn until_waiting(&self, lock: &str, waiting: u64) {
        eventually("the length of the queue", || async {
            let found =
                self.on_one_frontend().held_lock(lock).await.and_then(|shown| shown["Waiting"].as_u64());
            (found.unwrap_or_default() == waiting).then_some(())
        })
        .await;
    }

    /// What `/list` shows of a lock, if it is held.
    pub async fn held_lock(&self, lock: &str) -> Option<Value> {
        let answer = self.list(json!({"Kind": "Locks", "Prefix": lock}).to_string()).await.ok();
        answer["Locks"].as_array().unwrap().iter().find(|shown| shown["ID"] == lock).cloned()
    }

    /// Takes a lock that is free, and gives the handle.
    pub async fn lock(&self, lock: &str, dur_s: u64) -> u64 {
        self.db(json!({"LockID": lock, "LockDur": dur_s}).to_string()).await.number("Lock")
    }

    /// Gives a lock back.
    pub async fn unlock(&self, lock: &str, handle: u64) {
        let answer = self.db(json!({"UnlockID": lock, "Unlock": handle}).to_string()).await;
        assert_eq!(answer.ok(), json!({}));
    }

    /// Sets a key and gives its version.
    pub async fn set(&self, key: &str, raw_value: &str) -> u64 {
        let key = super::json_text(key);
        self.db(format!(r#"{{"KVSet":[{{"Key":{key},"Value":{raw_value}}}]}}"#)).await.number("Version")
    }

    /// A key's version and the bytes of its value.
    pub async fn get(&self, key: &str) -> (u64, Option<String>) {
        let answer = self.db(json!({"KVGet": [{"Key": key}]}).to_string()).await;
        let text = answer.ok_text();
        (first_version(&text), raw_values(&text).remove(0).1)
    }

    /// Adds to a counter and gives its value; adding 0 would be a write, so 0 reads.
    pub async fn count(&self, counter: &str, add: i64) -> i64 {
        let operation = if add == 0 { json!({"Key": counter}) } else { json!({"Key": counter, "Add": add}) };
        let answer = self.db(json!({"Atomic": [operation]}).to_string()).await;
        answer.ok()["Atomic"][0]["Value"].as_i64().unwrap()
    }

    /// The revision of a new write.
    pub async fn next_revision(&self) -> u64 {
        self.set("revision-probe", "0").await
    }
}
