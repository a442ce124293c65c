//! `cas`: read a number, write the next one if the key is still as it was read, and if not, again. What the
//! server holds at the end is how often that succeeded.

use crate::answers::{Refusal, Values, Written};
use crate::book::Book;
use crate::client::Answer;
use crate::exchange::{self, Answered, Exchange};
use crate::http::{Field, Request};
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::probe::Probe;
use crate::random::Random;
use crate::scenarios::held;
use crate::server::Server;
use crate::space::{NAME_DIGITS, Space, key_name};
use anyhow::{Result, ensure};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

/// Room for the longest number.
const NUMBER_BYTES: usize = 20;

/// What was answered about one key.
#[derive(Clone, Copy, Debug, Default)]
struct Swaps {
    succeeded: u64,
    version: u64,
    number: u64,
}

/// What was answered to all connections.
struct Notes {
    book: RefCell<Book<Swaps>>,
    conflicts: Cell<u64>,
}

struct Cas {
    read: Request,
    swap: Request,
    read_account: Field,
    read_key: Field,
    swap_account: Field,
    swap_key: Field,
    number_field: Field,
    version_field: Field,
    random: Random,
    space: Space,
    notes: Rc<Notes>,
    account: usize,
    key: usize,
    floor: u64,
    /// The version and the number to be swapped, once they are read.
    seen: Option<(u64, u64)>,
    /// Whether the unit begins, so that an account and a key are chosen.
    begins: bool,
}

impl Cas {
    fn new(address: SocketAddr, space: &Space, notes: &Rc<Notes>, connection: usize) -> Self {
        let name = key_name(0);
        let read = space.post(address, "db", &json!({"KVGet": [{"Key": name}]}).to_string());
        let room = " ".repeat(NUMBER_BYTES);
        let swap = format!(r#"{{"KVSet":[{{"Key":"{name}","Value":{room},"IfVersion":{room}}}]}}"#);
        let swap = space.post(address, "db", &swap);
        Self {
            read_account: read.path_field(NAME_DIGITS),
            read_key: read.field("key-", NAME_DIGITS),
            swap_account: swap.path_field(NAME_DIGITS),
            swap_key: swap.field("key-", NAME_DIGITS),
            number_field: swap.field(r#""Value":"#, NUMBER_BYTES),
            version_field: swap.field(r#""IfVersion":"#, NUMBER_BYTES),
            read,
            swap,
            random: Random::new(connection as u64),
            space: space.clone(),
            notes: Rc::clone(notes),
            account: 0,
            key: 0,
            floor: 0,
            seen: None,
            begins: true,
        }
    }

    fn check_read(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        let Values { kv } = answer.read::<Values<u64>>()?;
        let right = kv.len() == 1 && kv[0].key == key_name(self.key);
        ensure!(right && (kv[0].version == 0) == kv[0].value.is_none(), "read {}", answer.text());
        self.seen = Some((kv[0].version, kv[0].value.unwrap_or_default()));
        Ok(Answered::More)
    }

    fn check_swap(&mut self, answer: &Answer<'_>, seen: (u64, u64)) -> Result<Answered> {
        self.seen = None;
        if answer.status == 409 {
            let refusal: Refusal<'_> = serde_json::from_slice(answer.body)?;
            ensure!(refusal.code == "precondition_failed", "answered {}", answer.text());
            self.notes.conflicts.set(self.notes.conflicts.get() + 1);
            return Ok(Answered::More);
        }
        let Written { version } = Written::read(answer)?;
        let mut book = self.notes.book.borrow_mut();
        book.wrote(self.account, self.floor, version)?;
        ensure!(version > seen.0, "version {version} was written over {}", seen.0);
        if let Some(swaps) = book.cell(self.account, self.key) {
            swaps.succeeded += 1;
            if version > swaps.version {
                (swaps.version, swaps.number) = (version, seen.1 + 1);
            }
        }
        self.begins = true;
        Ok(Answered::ONE)
    }
}

impl Exchange for Cas {
    fn request(&mut self) -> &Request {
        if self.begins {
            self.begins = false;
            self.account = self.random.below(self.space.accounts);
            self.key = self.random.below(self.space.keys);
        }
        let (account, key) = (self.account as u64, self.key as u64);
        let Some((version, number)) = self.seen else {
            self.read.write_digits(self.read_account, account);
            self.read.write_digits(self.read_key, key);
            return &self.read;
        };
        self.floor = self.notes.book.borrow().floor(self.account);
        self.swap.write_digits(self.swap_account, account);
        self.swap.write_digits(self.swap_key, key);
        self.swap.write_number(self.number_field, number + 1);
        self.swap.write_number(self.version_field, version);
        &self.swap
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        match self.seen {
            None => self.check_read(answer),
            Some(seen) => self.check_swap(answer, seen),
        }
    }
}

/// Swaps in new accounts. A unit is a swap that succeeded, with all that it took.
///
/// # Errors
/// For the first wrong answer, or a swap that is lost.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let space = Space::new("cas", parameters.accounts, parameters.keys);
    let book = RefCell::new(Book::new(space.accounts, space.keys));
    let notes = Rc::new(Notes { book, conflicts: Cell::new(0) });
    let new = |number| Cas::new(server.frontend(number), &space, &notes, number);
    let (measured, _) = exchange::run(server, parameters, new).await?;
    let book = notes.book.take();
    verify(server.address, &space, &book).await?;
    let conflicts = notes.conflicts.get() as f64 / book.writes().max(1) as f64;
    Ok(Outcome::of(measured).with("conflicts a success", conflicts))
}

async fn verify(address: SocketAddr, space: &Space, book: &Book<Swaps>) -> Result<()> {
    book.verify_revisions()?;
    let mut probe = Probe::open(address).await?;
    for account in 0..book.accounts() {
        let swapped = || book.cells_of(account).filter(|(_, swaps)| swaps.succeeded > 0);
        let keys: Vec<usize> = swapped().map(|(key, _)| key).collect();
        let held = held::values::<u64>(&mut probe, space, account, &keys, NUMBER_BYTES).await?;
        for ((_, swaps), kv) in swapped().zip(held) {
            let Swaps { succeeded, version, number } = *swaps;
            ensure!(number == succeeded, "{} was swapped {succeeded} times up to {number}", kv.key);
            ensure!(
                (kv.version, kv.value) == (version, Some(number)),
                "{} holds version {} = {:?}, and the last swap was {version} = {number}",
                kv.key,
                kv.version,
                kv.value
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::canned;

    fn ok(body: &str) -> Answer<'_> {
        Answer { status: 200, body: body.as_bytes() }
    }

    #[tokio::test]
    async fn lost_swaps_are_seen() {
        let address = canned(r#"{"KV":[{"Key":"key-0000000","Version":2,"Value":2}]}"#).await;
        // What is read before each swap, and the version that the swap is answered.
        let verified = async |swaps: &[(&str, u64)]| {
            let space = Space::new("x", 1, 1);
            let book = RefCell::new(Book::new(1, 1));
            let notes = Rc::new(Notes { book, conflicts: Cell::new(0) });
            let mut cas = Cas::new(address, &space, &notes, 0);
            for (read, version) in swaps {
                assert!(cas.request().body().starts_with(br#"{"KVGet""#));
                cas.check(&ok(&format!(r#"{{"KV":[{{"Key":"key-0000000",{read}}}]}}"#)))?;
                cas.request();
                cas.floor = 0;
                cas.check(&ok(&format!(r#"{{"Version":{version}}}"#)))?;
            }
            verify(address, &space, &notes.book.take()).await
        };
        let (none, one) = (r#""Version":0"#, r#""Version":1,"Value":1"#);
        verified(&[(none, 1), (one, 2)]).await.unwrap();
        assert!(verified(&[(none, 1), (none, 2)]).await.is_err(), "both saw nothing and both succeeded");
        assert!(verified(&[(none, 1)]).await.is_err(), "something else is held");
        assert!(verified(&[(one, 1)]).await.is_err(), "a version did not rise");
    }

    #[test]
    fn a_conflict_is_tried_again() {
        let space = Space::new("x", 1, 1);
        let notes = Rc::new(Notes { book: RefCell::new(Book::new(1, 1)), conflicts: Cell::new(0) });
        let mut cas = Cas::new(([127, 0, 0, 1], 1).into(), &space, &notes, 0);
        cas.request();
        cas.check(&ok(r#"{"KV":[{"Key":"key-0000000","Version":7,"Value":5}]}"#)).unwrap();
        let swap: serde_json::Value = serde_json::from_slice(cas.request().body()).unwrap();
        assert_eq!(swap, json!({"KVSet": [{"Key": "key-0000000", "Value": 6, "IfVersion": 7}]}));
        let body = br#"{"Code":"precondition_failed","Message":"","Key":"key-0000000","Version":8}"#;
        assert_eq!(cas.check(&Answer { status: 409, body }).unwrap(), Answered::More);
        assert!(cas.request().body().starts_with(br#"{"KVGet""#));
        assert_eq!(notes.conflicts.get(), 1);
    }
}
