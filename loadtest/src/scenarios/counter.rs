//! `counter`: every connection adds 1 to counters. The sums that are answered are all the numbers from 1 on,
//! each one once, and the last is what the server holds.

use crate::answers::Counted;
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
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

/// What was answered about one counter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    added: u64,
    max: u64,
    /// All sums added up, to tell whether some came twice.
    total: u128,
}

/// What was answered to all connections.
pub type CounterBook = Rc<RefCell<Book<Sums>>>;

/// One connection that counts.
#[derive(Debug)]
pub struct Counter {
    request: Request,
    account_field: Field,
    counter_field: Field,
    random: Random,
    space: Space,
    book: CounterBook,
    account: usize,
    counter: usize,
    /// What was answered when the request went out: the version, and the sum if the counter is followed.
    floors: (u64, u64),
}

impl Counter {
    /// One of several connections, that note together what they are answered.
    #[must_use]
    pub fn new(address: SocketAddr, space: &Space, book: &CounterBook, connection: usize) -> Self {
        let body = json!({"Atomic": [{"Key": key_name(0), "Add": 1}]}).to_string();
        let request = space.post(address, "db", &body);
        Self {
            account_field: request.path_field(NAME_DIGITS),
            counter_field: request.field("key-", NAME_DIGITS),
            request,
            random: Random::new(connection as u64),
            space: space.clone(),
            book: Rc::clone(book),
            account: 0,
            counter: 0,
            floors: (0, 0),
        }
    }
}

impl Exchange for Counter {
    fn request(&mut self) -> &Request {
        self.account = self.random.below(self.space.accounts);
        self.counter = self.random.below(self.space.keys);
        let mut book = self.book.borrow_mut();
        let sum = book.cell(self.account, self.counter).map_or(0, |sums| sums.max);
        self.floors = (book.floor(self.account), sum);
        self.request.write_digits(self.account_field, self.account as u64);
        self.request.write_digits(self.counter_field, self.counter as u64);
        &self.request
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        let mut name = *b"key-0000000";
        crate::http::write_digits(&mut name[4..], self.counter as u64);
        let Counted { value, version } = Counted::read(answer, &name)?;
        let (version_floor, sum_floor) = self.floors;
        let mut book = self.book.borrow_mut();
        book.wrote(self.account, version_floor, version)?;
        ensure!(value > sum_floor, "the sum {value} was answered after {sum_floor} had been");
        if let Some(sums) = book.cell(self.account, self.counter) {
            sums.added += 1;
            sums.max = sums.max.max(value);
            sums.total += u128::from(value);
        }
        Ok(Answered::ONE)
    }
}

/// Counts in new accounts.
///
/// # Errors
/// For the first wrong answer, or an addition that is lost or there twice.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let space = Space::new("counter", parameters.accounts, parameters.keys);
    let book = Rc::new(RefCell::new(Book::new(space.accounts, space.keys)));
    let new = |number| Counter::new(server.frontend(number), &space, &book, number);
    let (measured, _) = exchange::run(server, parameters, new).await?;
    verify(server.address, &space, &book.take()).await?;
    Ok(Outcome::of(measured))
}

/// Checks the end: each counter that is followed is what was added, no sum was answered twice, and each
/// account's revision has risen by one an addition.
///
/// # Errors
/// If an update is lost or counted twice.
pub async fn verify(address: SocketAddr, space: &Space, book: &Book<Sums>) -> Result<()> {
    book.verify_revisions()?;
    let mut probe = Probe::open(address).await?;
    for account in 0..book.accounts() {
        let counted = || book.cells_of(account).filter(|(_, sums)| sums.added > 0);
        let names: Vec<String> = counted().map(|(counter, _)| key_name(counter)).collect();
        let held = held::counters(&mut probe, space, account, &names).await?;
        for ((_, sums), (held, name)) in counted().zip(held.into_iter().zip(names)) {
            let Sums { added, max, total } = *sums;
            ensure!(held == added, "{name} is {held} after {added} were added");
            ensure!(max == added, "the highest sum of {name} was {max} after {added} were added");
            let expected = u128::from(added) * u128::from(added + 1) / 2;
            ensure!(total == expected, "some sums of {name} were answered twice and others never");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::canned;

    #[tokio::test]
    async fn lost_additions_are_seen() {
        let address = canned(r#"{"Atomic":[{"Key":"key-0000000","Value":4}]}"#).await;
        let verified = async |answers: &[(u64, u64)]| {
            let space = Space::new("x", 1, 1);
            let book = Rc::new(RefCell::new(Book::new(1, 1)));
            let mut counter = Counter::new(address, &space, &book, 0);
            for (sum, version) in answers {
                counter.request();
                counter.floors = (0, 0);
                let body =
                    format!(r#"{{"Atomic":[{{"Key":"key-0000000","Value":{sum}}}],"Version":{version}}}"#);
                counter.check(&Answer { status: 200, body: body.as_bytes() })?;
            }
            verify(address, &space, &book.take()).await
        };
        verified(&[(1, 1), (4, 4), (2, 2), (3, 3)]).await.unwrap();
        assert!(verified(&[(1, 1), (4, 4), (2, 2), (4, 3)]).await.is_err(), "a sum came twice");
        assert!(verified(&[(1, 1), (2, 2), (3, 3)]).await.is_err(), "one was added twice");
        assert!(
            verified(&[(1, 1), (4, 4), (2, 2), (3, 3), (5, 5)]).await.is_err(),
            "the last addition is lost"
        );
        assert!(verified(&[(1, 1), (4, 5), (2, 2), (3, 3)]).await.is_err(), "a revision is skipped");
    }

    #[test]
    fn sums_rise() {
        let (space, book) = (Space::new("x", 1, 1), Rc::new(RefCell::new(Book::new(1, 1))));
        let mut counter = Counter::new(([127, 0, 0, 1], 1).into(), &space, &book, 0);
        let body = br#"{"Atomic":[{"Key":"key-0000000","Value":1}],"Version":1}"#;
        counter.request();
        counter.check(&Answer { status: 200, body }).unwrap();
        counter.request();
        let body = br#"{"Atomic":[{"Key":"key-0000000","Value":1}],"Version":2}"#;
        assert!(counter.check(&Answer { status: 200, body }).is_err());
    }
}
