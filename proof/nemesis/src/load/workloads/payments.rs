//! Requests that must happen once: sent again until their result is known, sent twice on purpose, by two clients at
//! once, or with the ids of another.

use super::{Crew, Worker};
use dragon_checker::history::Endpoint;
use serde_json::{Value, json};
use std::time::Duration;

/// From and to how many purses is paid: `purse/0` and so on.
const PURSES: usize = 3;

/// Pays until the course ends.
pub async fn payments(crew: Crew) {
    let mut twin = crew.clients.wandering();
    let mut worker = crew.worker();
    while worker.course.goes_on() {
        let mut body = payment(&mut worker);
        match worker.random.below(100) {
            0..65 => {
                worker.settle(&body).await;
            }
            65..80 => {
                worker.settle(&body).await;
                worker.settle(&body).await;
            }
            80..90 => {
                worker.course.beat().await;
                let twin_asks = twin.ask(Endpoint::Db, body.clone());
                let (told, _) = tokio::join!(worker.db(body.clone()), twin_asks);
                if !told.is_answered() {
                    worker.settle(&body).await;
                }
            }
            90..95 => {
                if worker.settle(&body).await.is_none() {
                    continue;
                }
                let mut other = payment(&mut worker);
                other["IdempotencyIDs"] = body["IdempotencyIDs"].clone();
                worker.db(other).await;
            }
            // Ids that are soon forgotten: sent once while they are known, and once when they may not be.
            _ => {
                let seconds = worker.random.within(1..=2);
                body["IdempotencyTTL"] = json!(seconds);
                // What may well happen twice must not spoil the sum of what must not.
                body["Atomic"].as_array_mut().expect("it was made above").truncate(2);
                worker.db(body.clone()).await;
                worker.db(body.clone()).await;
                worker.course.pause(Duration::from_secs(seconds) + Duration::from_millis(200)).await;
                worker.db(body).await;
            }
        }
    }
}

/// Moves an amount from one purse to another, and notes it beside.
fn payment(worker: &mut Worker) -> Value {
    let number = worker.course.unique();
    let mut ids = vec![json!(format!("payment-{number}"))];
    if worker.random.chance(30) {
        ids.push(json!(format!("order-{number}")));
    }
    let (from, step) = (worker.random.below(PURSES), 1 + worker.random.below(PURSES - 1));
    let amount = i64::try_from(worker.random.within(1..=9)).unwrap_or(1);
    json!({
        "IdempotencyIDs": ids,
        "Atomic": [{"Key": format!("purse/{from}"), "Add": -amount},
                   {"Key": format!("purse/{}", (from + step) % PURSES), "Add": amount},
                   {"Key": "paid", "Add": 1}],
        "KVSet": [{"Key": format!("pay/{}", number % 6), "Value": {"Payment": number}}]
    })
}
