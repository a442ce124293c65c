//! A client as the contract wants it: it knows what each error means, sends again what was not applied,
//! goes to another frontend when its own is gone, and settles what is unknown by an idempotency id. It
//! panics at any error that the contract does not name, and at a connection that broke without a kill.

use crate::cluster::Addresses;
use crate::support::{Answer, Connection};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Client {
    addresses: Addresses,
    /// The frontend that it is at.
    at: usize,
    /// Its connection, and whom that was opened to.
    connection: Option<(SocketAddr, Connection)>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Fate {
    Answered(Answer),
    /// Nothing of it was applied, and nothing will be.
    NotApplied,
    /// It may have been applied.
    Unknown,
}

impl Client {
    pub fn new(addresses: Addresses, at: usize) -> Self {
        Self { addresses, at, connection: None }
    }

    /// Sends a request once.
    pub async fn send(&mut self, path: &str, body: &str) -> Fate {
        let address = self.addresses.get(self.at);
        if self.connection.is_none() {
            let opened = Connection::try_open(address).await;
            self.connection = opened.ok().map(|connection| (address, connection));
        }
        let Some((address, mut connection)) = self.connection.take() else {
            assert!(self.addresses.may_be_gone(address), "{address} is not there and was not told to go");
            self.at += 1;
            return Fate::NotApplied;
        };
        let answer = match connection.try_post(path, body.as_bytes()).await {
            Ok(answer) => answer,
            Err(error) => {
                assert!(self.addresses.was_killed(address), "the connection to {address} broke: {error}");
                self.at += 1;
                return Fate::Unknown;
            }
        };
        if answer.header("connection") == Some("close") {
            assert!(
                self.addresses.may_be_gone(address),
                "{address} closes a connection and was not told to go"
            );
            self.at += 1;
        } else {
            self.connection = Some((address, connection));
        }
        match (answer.status, code(&answer).as_deref()) {
            (200 | 204, _) | (409, Some(_)) => Fate::Answered(answer),
            (503, Some("unavailable")) => Fate::NotApplied,
            (503, Some("outcome_unknown")) => Fate::Unknown,
            _ => panic!("{body} was answered {}: {}", answer.status, answer.text()),
        }
    }

    /// Sends a request that carries an idempotency id until its result is known, and gives it, or the
    /// refusal.
    pub async fn settle(&mut self, path: &str, body: &str) -> Result<Value, Value> {
        loop {
            match self.send(path, body).await {
                Fate::Answered(answer) if answer.status == 200 => return Ok(answer.json()),
                Fate::Answered(answer) => {
                    let mut told = answer.json();
                    if told["Code"] != "duplicate_request" {
                        return Err(told);
                    }
                    assert_eq!(told["SameRequest"], true, "{told}");
                    return Ok(told["Response"].take());
                }
                Fate::NotApplied | Fate::Unknown => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Sends a request that changes nothing, or that may be done twice, until it is answered.
    pub async fn ask(&mut self, path: &str, body: &str) -> Answer {
        loop {
            match self.send(path, body).await {
                Fate::Answered(answer) => return answer,
                Fate::NotApplied | Fate::Unknown => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

fn code(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    body["Code"].as_str().map(str::to_owned)
}
