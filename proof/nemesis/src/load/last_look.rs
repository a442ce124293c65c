//! What is there when all is over.

use super::client::{Client, Clients, Told};
use super::recorder::Recorder;
use crate::reach::Frontend;
use anyhow::{Result, ensure};
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A system that was left alone answers within this.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Lists all values, counters and locks of an account, each page again and again until it is answered; called when the
/// system is whole again. Before and after that a value is written, whose version tells how many writes there have
/// been: so the checker knows how many of those of unknown fate have happened.
///
/// # Errors
/// When something is not answered within a minute.
pub async fn last_look(frontends: &[Frontend], account: &str, recorder: &Recorder) -> Result<()> {
    let clients = Clients::new(frontends.to_vec(), account.to_owned(), recorder.clone(), 0);
    let mut client = clients.wandering();
    let end = Instant::now() + TIME_MAX;
    let mark = |text: &str| json!({"KVSet": [{"Key": "last-look", "Value": text}]});
    answer(&mut client, Endpoint::Db, &mark("begins"), end).await?;
    for (kind, name) in [("KV", "Key"), ("Counters", "Key"), ("Locks", "ID")] {
        let mut body = json!({"Kind": kind, "Limit": 1000});
        loop {
            let page = answer(&mut client, Endpoint::List, &body, end).await?;
            let last = page[kind].as_array().and_then(|entries| entries.last());
            match last {
                Some(last) if page["More"] == true => body["After"] = last[name].clone(),
                _ => break,
            }
        }
    }
    answer(&mut client, Endpoint::Db, &mark("ends"), end).await?;
    Ok(())
}

async fn answer(client: &mut Client, endpoint: Endpoint, body: &Value, end: Instant) -> Result<Value> {
    loop {
        if let Told::Answered { body: answer, .. } = client.ask(endpoint, body.clone()).await {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "{body} was not answered within {} s", TIME_MAX.as_secs());
    }
}
