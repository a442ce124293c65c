//! `kv-read`: values that were loaded before. Each answer is compared to the byte, version and value.

use crate::answers::Values;
use crate::client::Answer;
use crate::dataset::{self, Dataset};
use crate::exchange::{self, Answered, Exchange};
use crate::http::{Field, Request, write_digits};
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::random::Random;
use crate::scan::Scan;
use crate::server::Server;
use crate::space::{NAME_DIGITS, SEQUENCE_DIGITS, key_name};
use anyhow::{Result, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::rc::Rc;

struct KvRead {
    request: Request,
    account_field: Field,
    key_field: Field,
    random: Random,
    dataset: Rc<Dataset>,
    account: usize,
    key: usize,
    /// The name of the key and the text of its value, changed in place.
    name: Vec<u8>,
    text: Vec<u8>,
}

impl KvRead {
    fn new(address: SocketAddr, dataset: &Rc<Dataset>, connection: usize) -> Self {
        let body = json!({"KVGet": [{"Key": key_name(0)}]}).to_string();
        let request = dataset.space.post(address, "db", &body);
        Self {
            account_field: request.path_field(NAME_DIGITS),
            key_field: request.field("key-", NAME_DIGITS),
            request,
            random: Random::new(connection as u64),
            dataset: Rc::clone(dataset),
            account: 0,
            key: 0,
            name: key_name(0).into_bytes(),
            text: dataset.text(0, 0).into_bytes(),
        }
    }
}

impl Exchange for KvRead {
    fn request(&mut self) -> &Request {
        let space = &self.dataset.space;
        self.account = self.random.below(space.accounts);
        self.key = self.random.below(space.keys);
        self.request.write_digits(self.account_field, self.account as u64);
        self.request.write_digits(self.key_field, self.key as u64);
        &self.request
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Answered> {
        let (account, key) = (self.account as u64, self.key as u64);
        write_digits(&mut self.name["key-".len()..], key);
        write_digits(&mut self.text[..NAME_DIGITS], account);
        write_digits(&mut self.text[NAME_DIGITS + 1..][..SEQUENCE_DIGITS], key);
        let version = self.dataset.version(self.account, self.key);
        if answer.status == 200 && is_as_loaded(answer.body, &self.name, version, &self.text) {
            return Ok(Answered::ONE);
        }
        let Values { kv } = answer.read::<Values<String>>()?;
        let right = kv.len() == 1
            && (kv[0].key.as_bytes(), kv[0].version) == (&*self.name, version)
            && kv[0].value.as_ref().is_some_and(|value| value.as_bytes() == self.text);
        ensure!(right, "{} was loaded at version {version} and reads {}", key_name(self.key), answer.text());
        Ok(Answered::ONE)
    }
}

fn is_as_loaded(body: &[u8], name: &[u8], version: u64, text: &[u8]) -> bool {
    let mut scan = Scan::new(body);
    let mut as_loaded = || {
        scan.literal(br#"{"KV":[{"Key":""#)?;
        scan.literal(name)?;
        scan.literal(br#"","Version":"#)?;
        let found = scan.number()?;
        scan.literal(br#","Value":""#)?;
        scan.literal(text)?;
        scan.literal(br#""}]}"#)?;
        scan.end()?;
        Some(found == version)
    };
    as_loaded() == Some(true)
}

/// Reads what was loaded.
///
/// # Errors
/// For the first wrong answer.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let Parameters { accounts, keys, value_bytes, .. } = *parameters;
    let dataset = dataset::loaded(server, "read", accounts, keys, value_bytes).await?;
    let new = |number| KvRead::new(server.frontend(number), &dataset, number);
    Ok(Outcome::of(exchange::run(server, parameters, new).await?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Rc<Dataset> {
        Rc::new(Dataset::of_test(&[7, 8]))
    }

    #[test]
    fn only_what_was_loaded_is_right() {
        let dataset = dataset();
        let mut read = KvRead::new(([127, 0, 0, 1], 1).into(), &dataset, 0);
        read.key = 1;
        let mut checked = |body: String| read.check(&Answer { status: 200, body: body.as_bytes() });
        let body = |key: &str, version: u64, text: &str| {
            format!(r#"{{"KV":[{{"Key":"{key}","Version":{version},"Value":"{text}"}}]}}"#)
        };
        let (name, text) = (key_name(1), dataset.text(0, 1));
        checked(body(&name, 8, &text)).unwrap();
        checked(body(&name, 8, &text).replace(':', ": ")).unwrap();
        assert!(checked(body(&name, 7, &text)).is_err());
        assert!(checked(body(&key_name(0), 8, &text)).is_err());
        assert!(checked(body(&name, 8, &dataset.text(0, 0))).is_err());
        assert!(checked(r#"{"KV":[]}"#.to_owned()).is_err());
    }
}
