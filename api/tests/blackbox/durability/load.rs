//! One writer of the load, and what it was answered.

use crate::support::{Account, Answer, Connection};
use serde_json::{Value, json};
use std::io;

/// What a writer knows to be so.
#[derive(Debug)]
pub struct Ledger {
    pub writer: usize,
    /// How many of its requests were applied: the value of its counter and of its key.
    pub applied: u64,
    /// A request that was sent and not answered.
    pub in_doubt: Option<String>,
    /// Every revision that it was told.
    pub revisions: Vec<u64>,
    /// Its last request and what that was answered.
    last: Option<(String, Value)>,
    /// The lock that it holds, if it does: its name and handle.
    held: Option<(String, u64)>,
    /// A lock that it gave back.
    released: Option<(String, u64)>,
}

impl Ledger {
    pub fn new(writer: usize) -> Self {
        Self { writer, applied: 0, in_doubt: None, revisions: vec![], last: None, held: None, released: None }
    }

    /// One request that touches everything: an id, counters, a key, and a lock that it passes on from.
    fn next_request(&self) -> String {
        let (writer, number) = (self.writer, self.applied + 1);
        let mut request = json!({
            "IdempotencyIDs": [format!("{writer}-{number}")],
            "LockID": lock_name(writer, number), "LockDur": 3600,
            "Atomic": [{"Key": "sum", "Add": 1}, {"Key": format!("n{writer}"), "Add": 1}],
            "KVSet": [{"Key": format!("k{writer}"), "Value": number}],
        });
        if let Some((lock, handle)) = &self.held {
            request["UnlockID"] = json!(lock);
            request["Unlock"] = json!(handle);
        }
        request.to_string()
    }

    fn applied(&mut self, request: String, answer: Value) {
        self.applied += 1;
        let handle = answer["Lock"].as_u64().unwrap();
        assert_eq!(answer["Version"], handle);
        assert_eq!(answer["Atomic"][1]["Value"], self.applied);
        self.revisions.push(handle);
        self.released = self.held.replace((lock_name(self.writer, self.applied), handle));
        self.last = Some((request, answer));
    }

    /// Sends the request in doubt again, and learns what became of it.
    pub async fn settle(&mut self, account: &Account) {
        let Some(request) = self.in_doubt.take() else { return };
        let answer = account.db(&request).await;
        let result = if answer.status == 200 { answer.ok() } else { told_before(&answer) };
        self.applied(request, result);
    }

    /// Compares what the server shows with what it answered.
    pub async fn check(&self, account: &Account) {
        let (Some((request, answer)), Some((lock, handle))) = (&self.last, &self.held) else { return };
        let shown = account.get(&format!("k{}", self.writer)).await;
        assert_eq!(shown, (*handle, Some(self.applied.to_string())), "{self:?}");
        assert_eq!(account.count(&format!("n{}", self.writer), 0).await.cast_unsigned(), self.applied);
        assert_eq!(&told_before(&account.db(request).await), answer);
        let shown = account.held_lock(lock).await.expect("the lock is still held");
        assert_eq!((&shown["Lock"], &shown["Till"]), (&json!(handle), &answer["Till"]));
        if let Some((lock, handle)) = &self.released {
            let body = json!({"UnlockID": lock, "Unlock": handle}).to_string();
            account.db(body).await.refused(409, "not_locked", json!({"ID": lock}));
        }
    }
}

fn lock_name(writer: usize, number: u64) -> String {
    format!("l{writer}-{}", number % 2)
}

/// The answer that a duplicate is told.
fn told_before(answer: &Answer) -> Value {
    let body = answer.json();
    assert_eq!((&body["Code"], &body["SameRequest"]), (&json!("duplicate_request"), &json!(true)), "{body}");
    body["Response"].clone()
}

/// Sends one request after the other until the connection breaks.
pub async fn work_until_the_server_is_gone(account: Account, mut ledger: Ledger) -> Ledger {
    // The connection may already be refused: then nothing was sent.
    if let Ok(mut connection) = Connection::try_open(account.address()).await {
        while work(&account, &mut connection, &mut ledger).await.is_ok() {}
    }
    ledger
}

async fn work(account: &Account, connection: &mut Connection, ledger: &mut Ledger) -> io::Result<()> {
    let request = ledger.next_request();
    ledger.in_doubt = Some(request.clone());
    let answer = connection.try_post(&account.path("db"), request.as_bytes()).await?;
    let answer = answer.ok();
    ledger.in_doubt = None;
    ledger.applied(request, answer);
    Ok(())
}
