//! `mixed`: one request that passes from one lock to another, writes 100 keys and adds to 50 counters: 151
//! operations, all or nothing. So the keys of a block always have one version, and its counters one sum.

use crate::answers::{Granted, Sum};
use crate::book::Book;
use crate::client::Answer;
use crate::exchange::{self, Answered, Exchange};
use crate::http::{Field, Request, write_digits};
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::probe::{Probe, ask};
use crate::random::Random;
use crate::scan::Scan;
use crate::scenarios::held;
use crate::server::Server;
use crate::space::{NAME_DIGITS, SEQUENCE_DIGITS, Space, key_name, value_text};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

/// Keys and counters that are written together. Each request takes one such block by chance.
const BLOCK_KEYS: usize = 100;
const BLOCK_COUNTERS: usize = 50;
const OPERATIONS: u32 = 151;
const HANDLE_BYTES: usize = 20;

/// What was answered about one block.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    written: u64,
    version: u64,
    sequence: u64,
    connection: usize,
}

/// Where the changing parts of the request are.
struct Fields {
    unlock: Field,
    handle: Field,
    lock: Field,
    counters: Vec<Field>,
    keys: Vec<(Field, Field)>,
}

struct Mixed {
    request: Request,
    fields: Fields,
    connection: usize,
    account: usize,
    blocks: usize,
    random: Random,
    book: Rc<RefCell<Book<Block>>>,
    block: usize,
    floor: u64,
    sequence: u64,
    handle: u64,
}

/// The lock that a connection holds after its write of this number.
fn lock_name(connection: usize, sequence: u64) -> String {
    format!("lock-{connection:0NAME_DIGITS$}-{}", sequence % 2)
}

fn counter_name(counter: usize) -> String {
    format!("ctr-{counter:0NAME_DIGITS$}")
}

/// The body, with room for all that changes.
fn lay_out(connection: usize, value_bytes: usize) -> String {
    let (held, wanted, room) = (lock_name(connection, 0), lock_name(connection, 1), " ".repeat(HANDLE_BYTES));
    let mut body =
        format!(r#"{{"UnlockID":"{held}","Unlock":{room},"LockID":"{wanted}","LockDur":60,"Atomic":["#);
    // Writing to a string can't fail.
    for counter in 0..BLOCK_COUNTERS {
        let comma = if counter > 0 { "," } else { "" };
        let _ = write!(body, r#"{comma}{{"Key":"{}","Add":1}}"#, counter_name(counter));
    }
    body += r#"],"KVSet":["#;
    for key in 0..BLOCK_KEYS {
        let (comma, text) = (if key > 0 { "," } else { "" }, value_text(connection, 0, value_bytes));
        let _ = write!(body, r#"{comma}{{"Key":"{}","Value":"{text}"}}"#, key_name(key));
    }
    body + "]}"
}

impl Fields {
    fn of(request: &Request, connection: usize) -> Self {
        let side = |marker: &str| request.field(&format!("{marker}lock-{connection:0NAME_DIGITS$}-"), 1);
        let counters = (0..BLOCK_COUNTERS).map(|counter| {
            let name = request.field(&format!(r#""{}"#, counter_name(counter)), NAME_DIGITS);
            Request::field_before(name, NAME_DIGITS)
        });
        let keys = (0..BLOCK_KEYS).map(|key| {
            let after = request.field(&format!(r#""{}"#, key_name(key)), NAME_DIGITS);
            let name = Request::field_before(after, NAME_DIGITS);
            let numbers = r#"","Value":""#.len() + NAME_DIGITS + 1;
            (name, Request::field_after(after, numbers).wide(SEQUENCE_DIGITS))
        });
        Self {
            unlock: side(r#"{"UnlockID":""#),
            handle: request.field(r#""Unlock":"#, HANDLE_BYTES),
            lock: side(r#""LockID":""#),
            counters: counters.collect(),
            keys: keys.collect(),
        }
    }
}

impl Exchange for Mixed {
    fn request(&mut self) -> &Request {
        self.sequence += 1;
        self.block = self.random.below(self.blocks);
        self.floor = self.book.borrow().floor(self.account);
        let (request, fields) = (&mut self.request, &self.fields);
        request.write_digits(fields.unlock, (self.sequence - 1) % 2);
        request.write_digits(fields.lock, self.sequence % 2);
        request.write_number(fields.handle, self.handle);
        for (counter, field) in fields.counters.iter().enumerate() {
            request.write_digits(*field, (self.block * BLOCK_COUNTERS + counter) as u64);
        }
        for (key, (name, sequence)) in fields.keys.iter().enumerate() {
            request.write_digits(*name, (self.block * BLOCK_KEYS + key) as u64);
            request.write_digits(*sequence, self.sequence);
        }
        &self.request
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        let scanned = scan(answer.body, self.block).filter(|_| answer.status == 200);
        let (granted, sum) = scanned.map_or_else(|| read_json(answer, self.block), Ok)?;
        ensure!(granted.lock == granted.version, "handle {} at revision {}", granted.lock, granted.version);
        let mut book = self.book.borrow_mut();
        book.wrote(self.account, self.floor, granted.version)?;
        let block = book.cell(self.account, self.block).context("a block that is not followed")?;
        block.written += 1;
        ensure!(sum > 0, "a sum of 0 after an addition");
        if granted.version > block.version {
            (block.version, block.sequence, block.connection) =
                (granted.version, self.sequence, self.connection);
        }
        self.handle = granted.lock;
        Ok(Answered::Done { operations: OPERATIONS })
    }
}

/// The grant, and the one sum that all counters of the block must have.
fn scan(body: &[u8], block: usize) -> Option<(Granted, u64)> {
    let mut scan = Scan::new(body);
    scan.literal(br#"{"Lock":"#)?;
    let lock = scan.number()?;
    scan.literal(br#","Till":"#)?;
    let till = scan.number()?;
    scan.literal(br#","Atomic":["#)?;
    let mut name = *b"ctr-0000000";
    let mut sum = None;
    for counter in 0..BLOCK_COUNTERS {
        if counter > 0 {
            scan.literal(b",")?;
        }
        write_digits(&mut name[4..], (block * BLOCK_COUNTERS + counter) as u64);
        scan.literal(br#"{"Key":""#)?;
        scan.literal(&name)?;
        scan.literal(br#"","Value":"#)?;
        let value = scan.number()?;
        if *sum.get_or_insert(value) != value {
            return None;
        }
        scan.literal(b"}")?;
    }
    scan.literal(br#"],"Version":"#)?;
    let version = scan.number()?;
    scan.literal(b"}")?;
    scan.end()?;
    Some((Granted { lock, till, version }, sum?))
}

fn read_json(answer: &Answer<'_>, block: usize) -> Result<(Granted, u64)> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Body {
        lock: u64,
        till: u64,
        atomic: Vec<Sum>,
        version: u64,
    }
    let Body { lock, till, atomic, version } = answer.read()?;
    ensure!(atomic.len() == BLOCK_COUNTERS, "{} counters answered", atomic.len());
    for (counter, sum) in atomic.iter().enumerate() {
        let name = counter_name(block * BLOCK_COUNTERS + counter);
        ensure!(sum.key == name, "asked for {name}, answered for {}", sum.key);
        ensure!(
            sum.value == atomic[0].value,
            "{} was added to {} and not with its block",
            sum.value,
            sum.key
        );
    }
    Ok((Granted { lock, till, version }, atomic[0].value))
}

/// Writes to new accounts; connections are spread over them, since each holds a lock.
///
/// # Errors
/// For the first wrong answer, or a write that is lost, there twice or there in part.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let blocks = (parameters.keys / BLOCK_KEYS).max(1);
    let space = Space::new("mixed", parameters.accounts, blocks);
    let book = Rc::new(RefCell::new(Book::new(space.accounts, blocks)));
    ensure!(space.accounts * blocks <= 10_000, "more than 10,000 blocks of 100 keys can't all be followed");
    let mut handles = Vec::with_capacity(parameters.connections);
    let mut probe = Probe::open(server.address).await?;
    for connection in 0..parameters.connections {
        let account = connection % space.accounts;
        let lock = json!({"LockID": lock_name(connection, 0), "LockDur": 300});
        let path = format!("/db/{}", space.account(account));
        let granted: Granted = probe.ask(&path, &lock).await?;
        book.borrow_mut().wrote(account, 0, granted.version)?;
        handles.push(granted.lock);
    }
    let new = |connection: usize| {
        let account = connection % space.accounts;
        let path = format!("/db/{}", space.account(account));
        let request =
            Request::post(server.frontend(connection), &path, &lay_out(connection, parameters.value_bytes));
        Mixed {
            fields: Fields::of(&request, connection),
            request,
            connection,
            account,
            blocks,
            random: Random::new(connection as u64),
            book: Rc::clone(&book),
            block: 0,
            floor: 0,
            sequence: 0,
            handle: handles[connection],
        }
    };
    let (measured, done) = exchange::run(server, parameters, new).await?;
    verify(&mut probe, &space, &book.take(), parameters.value_bytes).await?;
    for mixed in &done {
        let lock = lock_name(mixed.connection, mixed.sequence);
        let path = format!("/db/{}", space.account(mixed.account));
        let body = json!({"UnlockID": lock, "Unlock": mixed.handle});
        let crate::answers::Released {} = ask(server.address, &path, &body).await?;
    }
    held::no_locks(&mut probe, &space).await?;
    Ok(Outcome::of(measured))
}

async fn verify(probe: &mut Probe, space: &Space, book: &Book<Block>, value_bytes: usize) -> Result<()> {
    book.verify_revisions()?;
    for account in 0..book.accounts() {
        for (number, block) in book.cells_of(account).filter(|(_, block)| block.written > 0) {
            let keys: Vec<usize> = (number * BLOCK_KEYS..(number + 1) * BLOCK_KEYS).collect();
            let text = value_text(block.connection, block.sequence, value_bytes);
            for kv in held::values::<String>(probe, space, account, &keys, value_bytes).await? {
                ensure!(
                    (kv.version, kv.value.as_ref()) == (block.version, Some(&text)),
                    "{} holds version {} = {:?}, and its block was written at {} with {text:?}",
                    kv.key,
                    kv.version,
                    kv.value,
                    block.version
                );
            }
            let counters = number * BLOCK_COUNTERS..(number + 1) * BLOCK_COUNTERS;
            let names: Vec<String> = counters.map(counter_name).collect();
            for (held, name) in held::counters(probe, space, account, &names).await?.iter().zip(&names) {
                ensure!(*held == block.written, "{name} is {held} after {} were added", block.written);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(block: usize, sum_of_last: u64) -> String {
        let sums = (0..BLOCK_COUNTERS).map(|counter| {
            let sum = if counter + 1 == BLOCK_COUNTERS { sum_of_last } else { 4 };
            format!(r#"{{"Key":"{}","Value":{sum}}}"#, counter_name(block * BLOCK_COUNTERS + counter))
        });
        let sums = sums.collect::<Vec<_>>().join(",");
        format!(r#"{{"Lock":9,"Till":99,"Atomic":[{sums}],"Version":9}}"#)
    }

    #[test]
    fn answers_are_whole() {
        let good = body(2, 4);
        let answer = Answer { status: 200, body: good.as_bytes() };
        assert_eq!(scan(answer.body, 2), Some(read_json(&answer, 2).unwrap()));
        assert!(scan(answer.body, 1).is_none() && read_json(&answer, 1).is_err());
        let torn = body(2, 5);
        let answer = Answer { status: 200, body: torn.as_bytes() };
        assert!(scan(answer.body, 2).is_none() && read_json(&answer, 2).is_err());
    }

    #[test]
    fn requests_change_in_place() {
        let request = Request::post(([127, 0, 0, 1], 1).into(), "/db/a", &lay_out(3, 64));
        let mut mixed = Mixed {
            fields: Fields::of(&request, 3),
            request,
            connection: 3,
            account: 0,
            blocks: 1,
            random: Random::new(0),
            book: Rc::new(RefCell::new(Book::new(1, 1))),
            block: 0,
            floor: 0,
            sequence: 1,
            handle: 77,
        };
        let body: serde_json::Value = serde_json::from_slice(mixed.request().body()).unwrap();
        assert_eq!(body["UnlockID"], lock_name(3, 1));
        assert_eq!(body["LockID"], lock_name(3, 2));
        assert_eq!(body["Unlock"], 77);
        for (list, length) in [("Atomic", 50), ("KVSet", 100)] {
            assert_eq!(body[list].as_array().unwrap().len(), length);
        }
        assert_eq!(body["Atomic"][49], json!({"Key": counter_name(49), "Add": 1}));
        assert_eq!(body["KVSet"][99], json!({"Key": key_name(99), "Value": value_text(3, 2, 64)}));
    }
}
