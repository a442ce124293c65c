//! `list`: all keys of an account, loaded before, in pages of 100, over and over. Each page has the keys that
//! follow the page before, in order, and none is missing.

use crate::answers::Kv;
use crate::client::Answer;
use crate::dataset::{self, Dataset};
use crate::exchange::{self, Answered, Exchange};
use crate::http::{Field, Request};
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::random::Random;
use crate::server::Server;
use crate::space::{NAME_DIGITS, key_name};
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

const KEYS_A_PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(rename = "KV")]
    kv: Vec<Kv<String>>,
    #[serde(rename = "More", default)]
    more: bool,
}

/// Pages that were found right, to the byte: nothing changes them, so the next one must be the same.
type Known = Rc<RefCell<Vec<Option<Vec<u8>>>>>;

struct Lister {
    /// Of the first page, and of one that follows another.
    first: Request,
    next: Request,
    account_fields: (Field, Field),
    after_field: Field,
    random: Random,
    dataset: Rc<Dataset>,
    known: Known,
    account: usize,
    page: usize,
}

impl Lister {
    fn new(address: SocketAddr, dataset: &Rc<Dataset>, known: &Known, connection: usize) -> Self {
        let post = |body: serde_json::Value| dataset.space.post(address, "list", &body.to_string());
        let first = post(json!({"Limit": KEYS_A_PAGE}));
        let next = post(json!({"After": key_name(0), "Limit": KEYS_A_PAGE}));
        Self {
            account_fields: (first.path_field(NAME_DIGITS), next.path_field(NAME_DIGITS)),
            after_field: next.field("key-", NAME_DIGITS),
            first,
            next,
            random: Random::new(connection as u64),
            dataset: Rc::clone(dataset),
            known: Rc::clone(known),
            account: 0,
            page: 0,
        }
    }

    fn pages(&self) -> usize {
        self.dataset.space.keys.div_ceil(KEYS_A_PAGE)
    }

    fn check_json(&self, answer: &Answer<'_>) -> Result<()> {
        let Page { kv, more } = answer.read()?;
        let first = self.page * KEYS_A_PAGE;
        let keys = first..self.dataset.space.keys.min(first + KEYS_A_PAGE);
        ensure!(kv.len() == keys.len(), "{} and not {} keys after {first}", kv.len(), keys.len());
        ensure!(more == (self.page + 1 < self.pages()), "More is {more} on page {}", self.page);
        for (key, kv) in keys.zip(&kv) {
            let (version, text) =
                (self.dataset.version(self.account, key), self.dataset.text(self.account, key));
            let right = (&kv.key, kv.version, kv.value.as_ref()) == (&key_name(key), version, Some(&text));
            ensure!(
                right,
                "{} was loaded with {text} at version {version} and lists as {kv:?}",
                key_name(key)
            );
        }
        Ok(())
    }
}

impl Exchange for Lister {
    fn request(&mut self) -> &Request {
        if self.page == 0 {
            self.account = self.random.below(self.dataset.space.accounts);
            self.first.write_digits(self.account_fields.0, self.account as u64);
            return &self.first;
        }
        self.next.write_digits(self.account_fields.1, self.account as u64);
        self.next.write_digits(self.after_field, (self.page * KEYS_A_PAGE - 1) as u64);
        &self.next
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        let number = self.account * self.pages() + self.page;
        let mut known = self.known.borrow_mut();
        let page = &mut known[number];
        if answer.status != 200 || page.as_deref() != Some(answer.body) {
            self.check_json(answer)?;
            *page = Some(answer.body.to_vec());
        }
        self.page = (self.page + 1) % self.pages();
        Ok(Answered::ONE)
    }
}

/// Lists what was loaded. A unit is a page.
///
/// # Errors
/// For the first wrong answer.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let Parameters { accounts, keys, value_bytes, .. } = *parameters;
    let dataset = dataset::loaded(server, "read", accounts, keys, value_bytes).await?;
    let pages = accounts * keys.div_ceil(KEYS_A_PAGE);
    let known = Rc::new(RefCell::new(vec![None; pages]));
    let new = |number| Lister::new(server.frontend(number), &dataset, &known, number);
    let (measured, _) = exchange::run(server, parameters, new).await?;
    let seen = known.borrow().iter().filter(|page| page.is_some()).count();
    Ok(Outcome::of(measured).with("pages of 100 seen", seen as f64).with("pages there are", pages as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_disorder_are_seen() {
        let dataset = Rc::new(Dataset::of_test(&[1; 150]));
        let known = Rc::new(RefCell::new(vec![None; 2]));
        let mut lister = Lister::new(([127, 0, 0, 1], 1).into(), &dataset, &known, 0);
        let body = |keys: &[usize], more: bool| {
            let kv = keys
                .iter()
                .map(|key| json!({"Key": key_name(*key), "Version": 1, "Value": dataset.text(0, *key)}));
            let mut page = json!({"KV": kv.collect::<Vec<_>>()});
            if more {
                page["More"] = true.into();
            }
            page.to_string()
        };
        let mut checked = |page, body: String| {
            lister.page = page;
            lister.request();
            lister.check(&Answer { status: 200, body: body.as_bytes() })
        };
        let keys: Vec<usize> = (0..150).collect();
        checked(0, body(&keys[..100], true)).unwrap();
        checked(1, body(&keys[100..], false)).unwrap();
        checked(0, body(&keys[..100], true)).unwrap();
        assert!(checked(0, body(&keys[..100], false)).is_err(), "the end too soon");
        assert!(checked(0, body(&keys[..99], true)).is_err(), "one is missing");
        assert!(checked(0, body(&keys[1..101], true)).is_err(), "the first is missing");
        let mut swapped = keys[..100].to_vec();
        swapped.swap(7, 8);
        assert!(checked(0, body(&swapped, true)).is_err(), "out of order");
    }
}
