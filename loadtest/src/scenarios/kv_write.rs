//! `kv-write`: values, each one different. The versions of all answers, and the values that are there at the
//! end, must fit.

use crate::answers::Written;
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
use crate::space::{NAME_DIGITS, SEQUENCE_DIGITS, Space, value_text};
use anyhow::{Result, ensure};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

/// The write of one connection, laid out once.
#[derive(Debug)]
pub struct ValueWrite {
    request: Request,
    key: Field,
    sequence_field: Field,
    /// Of the write laid out last, from 1.
    pub sequence: u64,
}

impl ValueWrite {
    /// For the connection of this number. `others` is what else the body has, with a comma behind it.
    #[must_use]
    pub fn new(address: SocketAddr, path: &str, others: &str, connection: usize, value_bytes: usize) -> Self {
        let (key, value) = (crate::space::key_name(0), value_text(connection, 0, value_bytes));
        let body = format!(r#"{{{others}"KVSet":[{{"Key":"{key}","Value":"{value}"}}]}}"#);
        let request = Request::post(address, path, &body);
        let key = request.field(r#"[{"Key":"key-"#, NAME_DIGITS);
        let connection = request.field(r#","Value":""#, SEQUENCE_DIGITS);
        let sequence_field = Request::field_after(connection, NAME_DIGITS + 1);
        Self { request, key, sequence_field, sequence: 0 }
    }

    /// Lays out the next write, of this key.
    pub fn next(&mut self, key: usize) -> &mut Request {
        self.sequence += 1;
        self.request.write_digits(self.sequence_field, self.sequence);
        self.request.write_digits(self.key, key as u64);
        &mut self.request
    }

    /// The write laid out last, to change more of it.
    pub fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// The write laid out last.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }
}

/// The last write of a key that was answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastWrite {
    version: u64,
    sequence: u64,
    connection: usize,
}

impl LastWrite {
    /// Notes a write, unless a later one is noted.
    pub fn note(&mut self, version: u64, sequence: u64, connection: usize) {
        if version > self.version {
            *self = Self { version, sequence, connection };
        }
    }
}

/// What was answered to all connections.
pub type ValueBook = Rc<RefCell<Book<LastWrite>>>;

/// One connection that writes values.
#[derive(Debug)]
pub struct KvWrite {
    write: ValueWrite,
    account_field: Field,
    connection: usize,
    random: Random,
    space: Space,
    book: ValueBook,
    account: usize,
    key: usize,
    floor: u64,
}

impl KvWrite {
    /// One of several connections, that note together what they are answered.
    #[must_use]
    pub fn new(
        address: SocketAddr,
        space: &Space,
        book: &ValueBook,
        connection: usize,
        bytes: usize,
    ) -> Self {
        let path = format!("/db/{}", space.account(0));
        let write = ValueWrite::new(address, &path, "", connection, bytes);
        Self {
            account_field: write.request().path_field(NAME_DIGITS),
            write,
            connection,
            random: Random::new(connection as u64),
            space: space.clone(),
            book: Rc::clone(book),
            account: 0,
            key: 0,
            floor: 0,
        }
    }
}

impl Exchange for KvWrite {
    fn request(&mut self) -> &Request {
        self.account = self.random.below(self.space.accounts);
        self.key = self.random.below(self.space.keys);
        self.floor = self.book.borrow().floor(self.account);
        let request = self.write.next(self.key);
        request.write_digits(self.account_field, self.account as u64);
        request
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        let Written { version } = Written::read(answer)?;
        let mut book = self.book.borrow_mut();
        book.wrote(self.account, self.floor, version)?;
        if let Some(last) = book.cell(self.account, self.key) {
            last.note(version, self.write.sequence, self.connection);
        }
        Ok(Answered::ONE)
    }
}

/// Writes to new accounts.
///
/// # Errors
/// For the first wrong answer, or an update that is lost or there twice.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let space = Space::new("kv-write", parameters.accounts, parameters.keys);
    let book = Rc::new(RefCell::new(Book::new(space.accounts, space.keys)));
    let new = |number| KvWrite::new(server.frontend(number), &space, &book, number, parameters.value_bytes);
    let (measured, _) = exchange::run(server, parameters, new).await?;
    verify(server.address, &space, &book.take(), parameters.value_bytes).await?;
    Ok(Outcome::of(measured))
}

/// Checks what is there when all connections are done: each key that is followed holds the write with the
/// highest version, and each account's revision has risen by one a write.
///
/// # Errors
/// If an update is lost or one is there twice.
pub async fn verify(
    address: SocketAddr,
    space: &Space,
    book: &Book<LastWrite>,
    value_bytes: usize,
) -> Result<()> {
    book.verify_revisions()?;
    let mut probe = Probe::open(address).await?;
    for account in 0..book.accounts() {
        let written = || book.cells_of(account).filter(|(_, last)| last.version > 0);
        let keys: Vec<usize> = written().map(|(key, _)| key).collect();
        let held = held::values::<String>(&mut probe, space, account, &keys, value_bytes).await?;
        for ((_, last), kv) in written().zip(held) {
            let expected = value_text(last.connection, last.sequence, value_bytes);
            ensure!(
                (kv.version, kv.value.as_deref()) == (last.version, Some(&*expected)),
                "{} holds version {} = {:?}, and the last write was {} = {expected:?}",
                kv.key,
                kv.version,
                kv.value,
                last.version
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::canned;

    #[test]
    fn writes_change_in_place() {
        let mut write = ValueWrite::new(([127, 0, 0, 1], 1).into(), "/db/a", "", 17, 64);
        write.next(0);
        let body = write.next(123).body();
        let expected =
            format!(r#"{{"KVSet":[{{"Key":"key-0000123","Value":"{}"}}]}}"#, value_text(17, 2, 64));
        assert_eq!(std::str::from_utf8(body).unwrap(), expected);
    }

    #[tokio::test]
    async fn lost_writes_are_seen() {
        let text = value_text(1, 1, 64);
        let body = format!(r#"{{"KV":[{{"Key":"key-0000000","Version":2,"Value":"{text}"}}]}}"#);
        let address = canned(body.leak()).await;
        let verified = async |versions: [&[u64]; 2]| {
            let space = Space::new("x", 1, 1);
            let book = Rc::new(RefCell::new(Book::new(1, 1)));
            for (connection, versions) in versions.iter().enumerate() {
                let mut write = KvWrite::new(address, &space, &book, connection, 64);
                for version in *versions {
                    write.request();
                    // All are sent before any is answered, so each order of versions may be.
                    write.floor = 0;
                    let body = format!(r#"{{"Version":{version}}}"#);
                    write.check(&Answer { status: 200, body: body.as_bytes() })?;
                }
            }
            verify(address, &space, &book.take(), 64).await
        };
        verified([&[1], &[2]]).await.unwrap();
        assert!(verified([&[2], &[1]]).await.is_err(), "the other write is there");
        assert!(verified([&[1], &[2, 3]]).await.is_err(), "the last write is lost");
        assert!(verified([&[], &[2]]).await.is_err(), "a revision is skipped");
        assert!(verified([&[], &[2, 2]]).await.is_err(), "a version came twice");
    }
}
