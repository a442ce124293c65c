//! `kv-one-key`, `kv-1000-keys`: 64-byte values, each one different. The versions of all answers, and the
//! values that are there at the end, must fit.

use crate::client::Answer;
use crate::closed_loop::{Exchange, Step};
use crate::http::{Request, write_digits};
use crate::probe::{Written, ask};
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;

const CONNECTION_DIGITS: usize = 6;
const SEQUENCE_DIGITS: usize = 12;
const KEY_DIGITS: usize = 6;
/// The value's text; with its quotes it has 64 bytes.
const VALUE_TEXT_BYTES: usize = 62;
/// As many as one request may read.
const KEYS_A_READ: usize = 1_000;

/// The write of one connection, laid out once.
#[derive(Debug)]
pub struct ValueWrite {
    request: Request,
    key_at: usize,
    sequence_at: usize,
    sequence: u64,
}

impl ValueWrite {
    /// For the connection of this number.
    #[must_use]
    pub fn new(address: SocketAddr, path: &str, connection: usize) -> Self {
        let key = key_name(0);
        let body = format!(r#"{{"KVSet":[{{"Key":"{key}","Value":"{}"}}]}}"#, value(connection, 0));
        let at = |text: &str| body.find(text).map_or(0, |at| at + text.len());
        let (key_at, value_at) = (at(r#""Key":"key-"#), at(r#""Value":""#));
        let request = Request::post(address, path, &body);
        Self { request, key_at, sequence_at: value_at + CONNECTION_DIGITS + 1, sequence: 0 }
    }

    /// Lays out the next write, of this key.
    pub fn next(&mut self, key: usize) -> &Request {
        self.sequence += 1;
        let body = self.request.body_mut();
        write_digits(&mut body[self.sequence_at..][..SEQUENCE_DIGITS], self.sequence);
        write_digits(&mut body[self.key_at..][..KEY_DIGITS], key as u64);
        &self.request
    }

    /// The write laid out last.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }
}

fn key_name(key: usize) -> String {
    format!("key-{key:0KEY_DIGITS$}")
}

/// What a connection writes as its write of this number.
fn value(connection: usize, sequence: u64) -> String {
    let numbers = format!("{connection:0CONNECTION_DIGITS$}-{sequence:0SEQUENCE_DIGITS$}-");
    format!("{numbers:x<VALUE_TEXT_BYTES$}")
}

/// The last write of a key by a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    version: u64,
    sequence: u64,
}

/// One connection that writes values.
#[derive(Debug)]
pub struct KvExchange {
    write: ValueWrite,
    connection: usize,
    key: usize,
    random: u64,
    version: u64,
    last: Vec<Last>,
}

impl KvExchange {
    /// One of several connections that write so many keys of an account.
    #[must_use]
    pub fn new(address: SocketAddr, account: &str, connection: usize, keys: usize) -> Self {
        Self {
            write: ValueWrite::new(address, &format!("/db/{account}"), connection),
            connection,
            key: 0,
            random: connection as u64 + 1,
            version: 0,
            last: vec![Last::default(); keys],
        }
    }

    /// A key by chance: xorshift, since it has to be cheap and to differ by connection, no more.
    fn next_key(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 32).unwrap_or_default() % self.last.len()
    }
}

impl Exchange for KvExchange {
    fn request(&mut self) -> &[u8] {
        self.key = self.next_key();
        self.write.next(self.key).bytes()
    }

    fn check(&mut self, answer: &Answer<'_>) -> Result<Step> {
        let Written { version } = answer.read()?;
        ensure!(version > self.version, "version {version} after {}", self.version);
        self.version = version;
        self.last[self.key] = Last { version, sequence: self.write.sequence };
        Ok(Step::Unit)
    }
}

/// Checks what is there when all connections are done: each key holds the write with the highest version,
/// and the account's revision has risen by one for each write.
///
/// # Errors
/// If an update is lost or one is there twice.
pub async fn verify(address: SocketAddr, account: &str, done: &[KvExchange]) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Kv {
        key: String,
        version: u64,
        value: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Values {
        #[serde(rename = "KV")]
        kv: Vec<Kv>,
    }
    let keys = done.first().map_or(0, |exchange| exchange.last.len());
    ensure!(keys <= KEYS_A_READ, "{keys} keys can't be read at once");
    let names: Vec<_> = (0..keys).map(|key| json!({"Key": key_name(key)})).collect();
    let values: Values = ask(address, &format!("/db/{account}"), &json!({"KVGet": names})).await?;
    ensure!(values.kv.len() == keys, "{} of {keys} keys answered", values.kv.len());
    for (key, kv) in values.kv.into_iter().enumerate() {
        let lasts = done.iter().map(|exchange| (exchange.last[key], exchange.connection));
        let (last, connection) = lasts.max_by_key(|(last, _)| last.version).unwrap_or_default();
        let expected = (last.version > 0).then(|| value(connection, last.sequence));
        ensure!(
            (&kv.key, kv.version, &kv.value) == (&key_name(key), last.version, &expected),
            "{} holds version {} = {:?}, and the last write was {} = {expected:?}",
            kv.key,
            kv.version,
            kv.value,
            last.version
        );
    }
    let writes: u64 = done.iter().map(|exchange| exchange.write.sequence).sum();
    let revision = done.iter().map(|exchange| exchange.version).max().unwrap_or_default();
    ensure!(revision == writes, "{writes} writes raised a new account's revision to {revision}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::canned;

    #[test]
    fn writes_change_in_place() {
        let mut write = ValueWrite::new(([127, 0, 0, 1], 1).into(), "/db/a", 17);
        write.next(0);
        let body = write.next(123).body();
        let expected = format!(
            r#"{{"KVSet":[{{"Key":"key-000123","Value":"000017-000000000002-{}"}}]}}"#,
            "x".repeat(42)
        );
        assert_eq!(std::str::from_utf8(body).unwrap(), expected);
        assert_eq!(format!("\"{}\"", value(17, 2)).len(), 64);
        assert!(expected.contains(&value(17, 2)));
    }

    #[tokio::test]
    async fn lost_writes_are_seen() {
        let text = "000001-000000000001-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        let body = format!(r#"{{"KV":[{{"Key":"key-000000","Version":2,"Value":"{text}"}}]}}"#);
        let address = canned(body.leak()).await;
        let verified = async |versions: [&[u64]; 2]| {
            let mut done = Vec::new();
            for (connection, versions) in versions.iter().enumerate() {
                let mut exchange = KvExchange::new(address, "a", connection, 1);
                for version in *versions {
                    exchange.request();
                    let body = format!(r#"{{"Version":{version}}}"#);
                    exchange.check(&Answer { status: 200, body: body.as_bytes() })?;
                }
                done.push(exchange);
            }
            verify(address, "a", &done).await
        };
        verified([&[1], &[2]]).await.unwrap();
        assert!(verified([&[2], &[1]]).await.is_err(), "the other write is there");
        assert!(verified([&[1], &[2, 3]]).await.is_err(), "the last write is lost");
        assert!(verified([&[], &[2]]).await.is_err(), "a revision is skipped");
        assert!(verified([&[], &[2, 2]]).await.is_err(), "a version did not rise");
    }
}
