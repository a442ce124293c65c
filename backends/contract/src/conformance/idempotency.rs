//! Idempotency ids: used once, and they give the first answer back.

use super::client::{Client, ask, json};
use crate::Backend;
use bytes::Bytes;
use dragon_core::limits::KEPT_ANSWER_BYTES_MAX;
use dragon_core::verdict::Rejection;
use std::sync::Arc;

struct Duplicate {
    id: String,
    response: Option<Bytes>,
    is_same: bool,
}

async fn duplicate(client: &Client, ask: super::client::Ask) -> Duplicate {
    match client.refusal(ask).await {
        Rejection::DuplicateRequest { id, response, same_request } => {
            Duplicate { id, response, is_same: same_request }
        }
        other => panic!("not a duplicate: {other:?}"),
    }
}

/// The same request again learns the first one's answer; another one learns that it is another.
pub async fn kept_answers(store: Arc<dyn Backend>) {
    let name = "kept-answers";
    let client = Client::new(store);
    let order = |amount| ask(name).once(&["order"]).add("total", amount).get("k").set("k", "1");
    let answer = client.apply(order(5)).await.answer;
    let again = duplicate(&client, order(5)).await;
    assert_eq!((&again.id[..], again.response, again.is_same), ("order", Some(answer.clone()), true));
    let other = duplicate(&client, order(6)).await;
    assert_eq!((other.response, other.is_same), (Some(answer), false));
    let total = client.answer(ask(name).count("total")).await;
    assert_eq!(total["Atomic"][0]["Value"], 5, "it was applied once");
    // A request that is refused leaves its ids free.
    let refused = ask(name).once(&["free"]).set("k", "2").if_version(99);
    assert!(matches!(client.refusal(refused).await, Rejection::VersionMismatch { .. }));
    client.apply(ask(name).once(&["free"]).set("k", "2")).await;
}

/// Many ids share one answer, each of them leads to it, and the first used one is named.
pub async fn many_ids_one_answer(store: Arc<dyn Backend>) {
    let name = "many-ids";
    let client = Client::new(store);
    let ids: Vec<String> = (0..100).map(|at| format!("id-{at:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = client.apply(ask(name).once(&ids).add("c", 1)).await.answer;
    for id in [ids[0], ids[1], ids[50], ids[99]] {
        let found = duplicate(&client, ask(name).once(&["fresh", id])).await;
        assert_eq!((&found.id[..], found.response, found.is_same), (id, Some(answer.clone()), false));
    }
    let found = duplicate(&client, ask(name).once(&["fresh", ids[7], ids[3]])).await;
    assert_eq!(found.id, ids[7], "the first in the request's order");
    assert!(duplicate(&client, ask(name).once(&ids).add("c", 1)).await.is_same);
    client.apply(ask(name).once(&["fresh"])).await;
}

/// An answer that is too large is not kept, but its ids are.
pub async fn large_answers_are_not_kept(store: Arc<dyn Backend>) {
    let name = "large-answers";
    let client = Client::new(store);
    let value = |bytes: usize| format!("\"{}\"", "v".repeat(bytes));
    client.apply(ask(name).set("small", value(KEPT_ANSWER_BYTES_MAX - 200))).await;
    client.apply(ask(name).set("large", value(KEPT_ANSWER_BYTES_MAX))).await;
    let read = |id: &str, key: &str| ask(name).once(&[id, &format!("{id}-2")]).get(key);
    let small = client.apply(read("s", "small")).await.answer;
    assert_eq!(duplicate(&client, read("s", "small")).await.response, Some(small.clone()));
    assert_eq!(duplicate(&client, ask(name).once(&["s-2"])).await.response, Some(small));
    client.apply(read("l", "large")).await;
    let again = duplicate(&client, read("l", "large")).await;
    assert_eq!((again.response, again.is_same), (None, true));
    assert_eq!(duplicate(&client, ask(name).once(&["l-2"])).await.response, None);
}

/// An id may be used again once it is forgotten.
pub async fn id_expiry(store: Arc<dyn Backend>) {
    let name = "id-expiry";
    let client = Client::new(store);
    client.apply(ask(name).once(&["short", "beside"]).remembered(1).add("c", 1)).await;
    client.apply(ask(name).once(&["long"]).add("c", 1)).await;
    client.outlive(1).await;
    let again = client.apply(ask(name).once(&["short"]).add("c", 1)).await.answer;
    assert_eq!(json(&again)["Atomic"][0]["Value"], 3);
    assert_eq!(duplicate(&client, ask(name).once(&["short"])).await.response, Some(again));
    client.apply(ask(name).once(&["beside"])).await;
    duplicate(&client, ask(name).once(&["long"])).await;
}
