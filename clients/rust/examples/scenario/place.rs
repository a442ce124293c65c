//! Where the scenario runs.

use dragon_client::{Account, Client, Error, Refusal};
use std::env;
use std::fmt::Debug;
use tokio::task::JoinSet;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the environment names.
pub struct Place {
    pub server: String,
    pub breaking: String,
    pub token: String,
    pub read_token: String,
    pub account: String,
}

impl Place {
    pub fn from_environment() -> Result<Self, env::VarError> {
        Ok(Self {
            server: env::var("DRAGON_SERVER")?,
            breaking: env::var("DRAGON_BREAKING_SERVER")?,
            token: env::var("DRAGON_TOKEN")?,
            read_token: env::var("DRAGON_READ_TOKEN")?,
            account: env::var("DRAGON_ACCOUNT")?,
        })
    }

    /// The account, by a client of its own.
    pub fn account(&self) -> Result<Account, Error> {
        self.account_by(&self.server, &self.token)
    }

    pub fn account_by(&self, server: &str, token: &str) -> Result<Account, Error> {
        let client = Client::builder(server).token(token).build()?;
        client.account(&self.account)
    }
}

/// The server's refusal. An answer is a failure of the step, and so is an error of another sort.
pub fn refusal<T: Debug>(result: Result<T, Error>) -> Outcome<Refusal> {
    match result {
        Err(Error::Refused(refusal)) => Ok(*refusal),
        Err(other) => Err(other.into()),
        Ok(answer) => Err(format!("not refused: {answer:?}").into()),
    }
}

/// What all tasks have given, as soon as they have; the first error, if there is one.
pub async fn join<T: 'static>(mut tasks: JoinSet<Result<T, Error>>) -> Outcome<Vec<T>> {
    let mut all = Vec::new();
    while let Some(task) = tasks.join_next().await {
        all.push(task??);
    }
    Ok(all)
}
