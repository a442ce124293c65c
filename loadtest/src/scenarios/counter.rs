//! `counter-one-key`: every connection adds 1 to the same counter. The sums that are answered are all the
//! numbers from 1 on, each one once.

use crate::client::Answer;
use crate::closed_loop::{Exchange, Step};
use crate::http::Request;
use crate::probe::ask;
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;

const COUNTER: &str = "key-000000";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Counted<'a> {
    #[serde(borrow)]
    atomic: [Sum<'a>; 1],
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Sum<'a> {
    key: &'a str,
    value: u64,
}

/// One connection that counts.
#[derive(Debug)]
pub struct CounterExchange {
    request: Request,
    added: u64,
    sum: u64,
    version: u64,
    /// All sums added up, to tell whether some came twice.
    sums: u128,
}

impl CounterExchange {
    /// One of several connections.
    #[must_use]
    pub fn new(address: SocketAddr, account: &str) -> Self {
        let body = json!({"Atomic": [{"Key": COUNTER, "Add": 1}]}).to_string();
        let request = Request::post(address, &format!("/db/{account}"), &body);
        Self { request, added: 0, sum: 0, version: 0, sums: 0 }
    }
}

impl Exchange for CounterExchange {
    fn request(&mut self) -> &[u8] {
        self.request.bytes()
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Step> {
        let Counted { atomic: [Sum { key, value }], version } = answer.read()?;
        ensure!(key == COUNTER, "asked for {COUNTER}, answered for {key}");
        ensure!(value > self.sum && version > self.version, "{} after {}", answer.text(), self.sum);
        (self.sum, self.version) = (value, version);
        self.added += 1;
        self.sums += u128::from(value);
        Ok(Step::Unit)
    }
}

/// Checks the end: the counter is what was added, and no sum was answered twice.
///
/// # Errors
/// If an update is lost or counted twice.
pub async fn verify(address: SocketAddr, account: &str, done: &[CounterExchange]) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Read {
        atomic: [State; 1],
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct State {
        value: u64,
    }
    let body = json!({"Atomic": [{"Key": COUNTER}]});
    let Read { atomic: [State { value }] } = ask(address, &format!("/db/{account}"), &body).await?;
    let added: u64 = done.iter().map(|exchange| exchange.added).sum();
    ensure!(value == added, "the counter is {value} after {added} were added");
    let sums: u128 = done.iter().map(|exchange| exchange.sums).sum();
    let expected = u128::from(added) * u128::from(added + 1) / 2;
    ensure!(sums == expected, "some sums were answered twice and others never");
    let revision = done.iter().map(|exchange| exchange.version).max().unwrap_or_default();
    ensure!(revision == added, "{added} additions raised a new account's revision to {revision}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::canned;

    /// A connection that was answered these sums.
    fn answered(address: SocketAddr, sums: &[u64]) -> Result<CounterExchange> {
        let mut exchange = CounterExchange::new(address, "a");
        for sum in sums {
            let body = format!(r#"{{"Atomic":[{{"Key":"{COUNTER}","Value":{sum}}}],"Version":{sum}}}"#);
            exchange.check(&Answer { status: 200, body: body.as_bytes() })?;
        }
        Ok(exchange)
    }

    #[tokio::test]
    async fn lost_additions_are_seen() {
        let address = canned(r#"{"Atomic":[{"Key":"key-000000","Value":4}]}"#).await;
        let verified = async |one: &[u64], other: &[u64]| {
            let done = [answered(address, one).unwrap(), answered(address, other).unwrap()];
            verify(address, "a", &done).await
        };
        verified(&[1, 4], &[2, 3]).await.unwrap();
        assert!(verified(&[1, 4], &[2, 4]).await.is_err(), "a sum came twice");
        assert!(verified(&[1, 4], &[2, 3, 5]).await.is_err(), "the last addition is lost");
        assert!(answered(address, &[2, 2]).is_err(), "a sum did not rise");
    }
}
