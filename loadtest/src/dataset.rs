//! Data that a server is loaded with once, for the scenarios that read it or write on top of it.

use crate::answers::Written;
use crate::client::Connection;
use crate::server::Server;
use crate::space::{Space, key_name, value_text};
use anyhow::{Result, ensure};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

/// As many as one request may write, and less where values are large.
const KEYS_A_REQUEST: usize = 1_000;
const REQUEST_BYTES_MAX: usize = 4 << 20;
const LOADERS: usize = 4;
/// Time for the store to come to rest when all is loaded.
const REST_A_KEY: Duration = Duration::from_micros(5);
const REST_MAX: Duration = Duration::from_secs(5);

/// What a server was loaded with.
#[derive(Debug, Default)]
pub struct Datasets(RefCell<Vec<Rc<Dataset>>>);

/// Every key of every account, each with its own value.
#[derive(Debug)]
pub struct Dataset {
    /// Where it is.
    pub space: Space,
    /// The size of each value.
    pub value_bytes: usize,
    keys_a_request: usize,
    /// The version of each request's keys, account by account.
    versions: Vec<u64>,
    /// Each account's revision now.
    revisions: RefCell<Vec<u64>>,
}

impl Dataset {
    /// The version that a key was loaded with.
    #[must_use]
    pub fn version(&self, account: usize, key: usize) -> u64 {
        self.versions[account * self.requests_an_account() + key / self.keys_a_request]
    }

    /// The text of the value that a key was loaded with.
    #[must_use]
    pub fn text(&self, account: usize, key: usize) -> String {
        value_text(account, key as u64, self.value_bytes)
    }

    /// Each account's revision now.
    #[must_use]
    pub fn revisions(&self) -> Vec<u64> {
        self.revisions.borrow().clone()
    }

    /// Notes what writes on top of it have made of the revisions.
    pub fn set_revisions(&self, revisions: Vec<u64>) {
        self.revisions.replace(revisions);
    }

    /// One account whose keys have these versions, as if it were loaded.
    #[cfg(test)]
    pub fn of_test(versions: &[u64]) -> Self {
        Self {
            space: Space::new("test", 1, versions.len()),
            value_bytes: 64,
            keys_a_request: 1,
            versions: versions.to_vec(),
            revisions: RefCell::default(),
        }
    }

    fn requests_an_account(&self) -> usize {
        self.space.keys.div_ceil(self.keys_a_request)
    }

    /// The body that loads the keys of an account's request of this number.
    fn body(&self, account: usize, request: usize) -> String {
        let first = request * self.keys_a_request;
        let mut body = String::with_capacity(self.keys_a_request * (self.value_bytes + 40));
        body += r#"{"KVSet":["#;
        for key in first..self.space.keys.min(first + self.keys_a_request) {
            let comma = if key > first { "," } else { "" };
            let (name, text) = (key_name(key), self.text(account, key));
            body += &format!(r#"{comma}{{"Key":"{name}","Value":"{text}"}}"#);
        }
        body + "]}"
    }
}

/// The server's data of this shape: what is there already, or loaded now. `purpose` keeps data that is only
/// read apart from data that is written on top of.
///
/// # Errors
/// When a write fails.
pub async fn loaded(
    server: &Server,
    purpose: &str,
    accounts: usize,
    keys: usize,
    value_bytes: usize,
) -> Result<Rc<Dataset>> {
    let space = Space::new(purpose, accounts, keys);
    let fits = |dataset: &&Rc<Dataset>| dataset.value_bytes == value_bytes && dataset.space.is_like(&space);
    if let Some(found) = server.datasets.0.borrow().iter().find(fits) {
        return Ok(Rc::clone(found));
    }
    let dataset = Rc::new(load(server, space, value_bytes).await?);
    server.datasets.0.borrow_mut().push(Rc::clone(&dataset));
    Ok(dataset)
}

async fn load(server: &Server, space: Space, value_bytes: usize) -> Result<Dataset> {
    let keys_a_request = KEYS_A_REQUEST.min(REQUEST_BYTES_MAX / (value_bytes + 100)).max(1);
    let requests_an_account = space.keys.div_ceil(keys_a_request);
    let requests = space.accounts * requests_an_account;
    let revisions = vec![requests_an_account as u64; space.accounts];
    let dataset = Dataset {
        space,
        value_bytes,
        keys_a_request,
        versions: Vec::new(),
        revisions: RefCell::new(revisions),
    };
    let dataset = Rc::new(dataset);
    let (next, versions) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(vec![0; requests])));
    let mut loaders = JoinSet::new();
    for _ in 0..LOADERS {
        let (dataset, next, versions) = (Rc::clone(&dataset), Rc::clone(&next), Rc::clone(&versions));
        let (address, mut connection) = (server.address, Connection::open(server.address).await?);
        loaders.spawn_local(async move {
            while next.get() < requests {
                let number = next.replace(next.get() + 1);
                let account = number / requests_an_account;
                let body = dataset.body(account, number % requests_an_account);
                let path = format!("/db/{}", dataset.space.account(account));
                let request = crate::http::Request::post(address, &path, &body);
                let written = Written::read(&connection.exchange(&request).await?)?;
                versions.borrow_mut()[number] = written.version;
            }
            anyhow::Ok(())
        });
    }
    while let Some(loader) = loaders.join_next().await {
        loader??;
    }
    let mut dataset = Rc::into_inner(dataset).ok_or_else(|| anyhow::anyhow!("a loader goes on"))?;
    dataset.versions = versions.take();
    for versions in dataset.versions.chunks(requests_an_account) {
        let mut sorted = versions.to_vec();
        sorted.sort_unstable();
        let expected = 1..=requests_an_account as u64;
        ensure!(
            sorted.into_iter().eq(expected),
            "the requests that load an account got versions {versions:?}"
        );
    }
    // What was measured right away would share the disk with what the store does after so many writes.
    let keys = u32::try_from(dataset.space.accounts * dataset.space.keys)?;
    tokio::time::sleep((REST_A_KEY * keys).min(REST_MAX)).await;
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_every_key_once() {
        let dataset = Dataset {
            space: Space::new("x", 2, 5),
            value_bytes: 30,
            keys_a_request: 2,
            versions: vec![3, 1, 2, 1, 2, 3],
            revisions: RefCell::default(),
        };
        let body: serde_json::Value = serde_json::from_str(&dataset.body(1, 1)).unwrap();
        assert_eq!(body["KVSet"][0]["Key"], key_name(2));
        assert_eq!(body["KVSet"][1]["Value"], dataset.text(1, 3));
        assert!(dataset.body(1, 2).matches("Key").count() == 1, "the last one has what is left");
        assert_eq!([dataset.version(0, 1), dataset.version(0, 2), dataset.version(1, 4)], [3, 1, 3]);
    }
}
