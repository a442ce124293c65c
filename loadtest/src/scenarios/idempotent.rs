//! `idempotent`: writes that each carry an idempotency id of their own. One in 64 is sent again, as a client
//! does whose connection broke, and must be told what the first one did, and do nothing.

use crate::answers::Written;
use crate::book::Book;
use crate::client::Answer;
use crate::exchange::{self, Answered, Exchange};
use crate::http::{Field, Request};
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::random::Random;
use crate::scenarios::kv_write::{ValueBook, ValueWrite, verify};
use crate::server::Server;
use crate::space::{NAME_DIGITS, SEQUENCE_DIGITS, Space};
use anyhow::{Result, ensure};
use serde::Deserialize;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

const SENT_TWICE_EVERY: u64 = 64;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Duplicate<'a> {
    code: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    same_request: bool,
    response: Written,
}

struct Idempotent {
    write: ValueWrite,
    account_field: Field,
    id_field: Field,
    connection: usize,
    random: Random,
    space: Space,
    book: ValueBook,
    account: usize,
    key: usize,
    floor: u64,
    /// The version that the write was answered which goes out once more.
    again: Option<u64>,
    duplicates: u64,
}

fn id_name(connection: usize, sequence: u64) -> String {
    format!("id-{connection:0NAME_DIGITS$}-{sequence:0SEQUENCE_DIGITS$}")
}

impl Idempotent {
    fn new(address: SocketAddr, space: &Space, book: &ValueBook, connection: usize, bytes: usize) -> Self {
        let others = format!(r#""IdempotencyIDs":["{}"],"IdempotencyTTL":600,"#, id_name(connection, 0));
        let path = format!("/db/{}", space.account(0));
        let write = ValueWrite::new(address, &path, &others, connection, bytes);
        let id = write.request().field(r#"["id-"#, SEQUENCE_DIGITS);
        Self {
            account_field: write.request().path_field(NAME_DIGITS),
            id_field: Request::field_after(id, NAME_DIGITS + 1),
            write,
            connection,
            random: Random::new(connection as u64),
            space: space.clone(),
            book: Rc::clone(book),
            account: 0,
            key: 0,
            floor: 0,
            again: None,
            duplicates: 0,
        }
    }

    fn check_duplicate(&mut self, answer: &Answer<'_>, version: u64) -> Result<()> {
        ensure!(answer.status == 409, "sent twice and answered {}: {}", answer.status, answer.text());
        let Duplicate { code, id, same_request, response } = serde_json::from_slice(answer.body)?;
        let right = code == "duplicate_request" && id == id_name(self.connection, self.write.sequence);
        ensure!(right && same_request, "sent twice and answered {}", answer.text());
        ensure!(response.version == version, "answered version {version}, then {}", answer.text());
        self.duplicates += 1;
        Ok(())
    }
}

impl Exchange for Idempotent {
    fn request(&mut self) -> &Request {
        if self.again.is_some() {
            return self.write.request();
        }
        self.account = self.random.below(self.space.accounts);
        self.key = self.random.below(self.space.keys);
        self.floor = self.book.borrow().floor(self.account);
        self.write.next(self.key);
        let sequence = self.write.sequence;
        let request = self.write.request_mut();
        request.write_digits(self.id_field, sequence);
        request.write_digits(self.account_field, self.account as u64);
        request
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        if let Some(version) = self.again.take() {
            self.check_duplicate(answer, version)?;
            return Ok(Answered::ONE);
        }
        let Written { version } = Written::read(answer)?;
        let mut book = self.book.borrow_mut();
        book.wrote(self.account, self.floor, version)?;
        if let Some(last) = book.cell(self.account, self.key) {
            last.note(version, self.write.sequence, self.connection);
        }
        self.again = self.write.sequence.is_multiple_of(SENT_TWICE_EVERY).then_some(version);
        Ok(Answered::ONE)
    }
}

/// Writes to new accounts.
///
/// # Errors
/// For the first wrong answer, or a write that is lost or there twice.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let space = Space::new("idempotent", parameters.accounts, parameters.keys);
    let book = Rc::new(RefCell::new(Book::new(space.accounts, space.keys)));
    let new =
        |number| Idempotent::new(server.frontend(number), &space, &book, number, parameters.value_bytes);
    let (measured, done) = exchange::run(server, parameters, new).await?;
    // A duplicate that had been applied would have raised a revision that no answer explains.
    verify(server.address, &space, &book.take(), parameters.value_bytes).await?;
    let duplicates: u64 = done.iter().map(|one| one.duplicates).sum();
    Ok(Outcome::of(measured).with("sent twice", duplicates as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_must_be_recognised() {
        let (space, book) = (Space::new("x", 1, 1), Rc::new(RefCell::new(Book::new(1, 1))));
        let mut one = Idempotent::new(([127, 0, 0, 1], 1).into(), &space, &book, 5, 64);
        one.write.sequence = SENT_TWICE_EVERY - 1;
        let first = one.request().body().to_vec();
        let body: serde_json::Value = serde_json::from_slice(&first).unwrap();
        let id = id_name(5, SENT_TWICE_EVERY);
        assert_eq!(body["IdempotencyIDs"][0], *id);
        one.check(&Answer { status: 200, body: br#"{"Version":1}"# }).unwrap();
        assert_eq!(one.request().body(), first);
        let duplicate = |id: &str, same: bool, version: u64| {
            format!(
                r#"{{"Code":"duplicate_request","Message":"","ID":"{id}","SameRequest":{same},"Response":{{"Version":{version}}}}}"#
            )
        };
        let mut checked = |status, body: &str| {
            one.again = Some(1);
            one.check(&Answer { status, body: body.as_bytes() })
        };
        checked(409, &duplicate(&id, true, 1)).unwrap();
        assert!(checked(409, &duplicate(&id, false, 1)).is_err(), "taken for another request");
        assert!(checked(409, &duplicate(&id, true, 2)).is_err(), "another answer");
        assert!(checked(409, &duplicate("id-x", true, 1)).is_err(), "another id");
        assert!(checked(200, r#"{"Version":2}"#).is_err(), "applied twice");
    }
}
