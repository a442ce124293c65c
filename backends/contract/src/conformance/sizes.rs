//! As much as a request may carry.

use super::client::{Ask, Client, account, ask, cell, json, number};
use crate::Backend;
use dragon_core::cell::Kind;
use dragon_core::layout::{self, HEADER_BYTES};
use dragon_core::limits::{OPERATIONS_MAX, REQUEST_BYTES_MAX, VALUE_BYTES_MAX};
use std::sync::Arc;

/// A JSON string of so many bytes that is unlike others and does not compress well.
fn long_string(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut text = String::with_capacity(bytes);
    text.push('"');
    while text.len() < bytes - 1 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b'0' + (state >> 33) as u8 % 64).to_ascii_lowercase());
    }
    let mut text = text.replace('\\', "~");
    text.push('"');
    text
}

/// The largest value comes back whole, and is replaced by a small one and back.
pub async fn large_values(store: Arc<dyn Backend>) {
    let name = "large-values";
    let client = Client::new(store);
    for (round, bytes) in [VALUE_BYTES_MAX, 3, VALUE_BYTES_MAX - 1].into_iter().enumerate() {
        let value = long_string(bytes, round as u64);
        client.apply(ask(name).set("k", value.clone())).await;
        let row = client.load(&[cell(name, Kind::Value, "k")]).await.rows.remove(0);
        assert!(layout::value(&row.expect("it was stored")) == value, "the value of {bytes} bytes");
        let answer = client.apply(ask(name).get("k")).await.answer;
        assert_eq!(json(&answer)["KV"][0]["Value"], json(value.as_bytes()));
    }
    client.apply(ask(name).delete("k")).await;
    assert_eq!(client.stamp(&cell(name, Kind::Value, "k")).await, 0);
}

/// A thousand keys in one request, written, read and deleted.
pub async fn many_keys(store: Arc<dyn Backend>) {
    let name = "many-keys";
    let client = Client::new(store);
    let keys: Vec<String> = (0..OPERATIONS_MAX).map(|at| format!("key/{at:04}")).collect();
    let each = |ask: Ask, write: fn(Ask, &str) -> Ask| keys.iter().fold(ask, |ask, key| write(ask, key));
    let version = number(&client.answer(each(ask(name), |ask, key| ask.set(key, "1"))).await, "Version");
    let read = client.answer(each(ask(name), |ask, key| ask.get(key))).await;
    let read = read["KV"].as_array().cloned().unwrap_or_default();
    assert_eq!(read.len(), OPERATIONS_MAX);
    assert!(read.iter().all(|entry| entry["Version"] == version && entry["Value"] == 1));
    client.apply(each(ask(name), |ask, key| ask.add(key, 2))).await;
    client.apply(each(ask(name), |ask, key| ask.delete(key))).await;
    let cells: Vec<_> =
        keys.iter().flat_map(|key| [cell(name, Kind::Value, key), cell(name, Kind::Counter, key)]).collect();
    let rows = client.load(&cells).await.rows;
    let (values, counters): (Vec<_>, Vec<_>) = rows.chunks(2).map(|pair| (&pair[0], &pair[1])).unzip();
    assert!(values.iter().all(|row| row.is_none()));
    assert!(counters.iter().all(|row| row.is_some()));
}

/// The largest request is applied whole.
pub async fn large_requests(store: Arc<dyn Backend>) {
    let name = "large-requests";
    let client = Client::new(store);
    // Names and brackets take some of the body.
    let value_bytes = VALUE_BYTES_MAX - 100;
    let keys: Vec<String> = (0..REQUEST_BYTES_MAX / VALUE_BYTES_MAX).map(|at| format!("k{at}")).collect();
    for round in 0..2 {
        let values: Vec<String> =
            (0..keys.len()).map(|at| long_string(value_bytes, (round * 100 + at) as u64)).collect();
        let ask = keys.iter().zip(&values).fold(ask(name), |ask, (key, value)| ask.set(key, value.clone()));
        client.apply(ask).await;
        let cells: Vec<_> = keys.iter().map(|key| cell(name, Kind::Value, key)).collect();
        for (row, value) in client.load(&cells).await.rows.into_iter().zip(&values) {
            assert!(layout::value(&row.expect("it was stored")) == value, "a value of round {round}");
        }
    }
}

/// What an account stores is told: all of it, nothing of its neighbours', and as it is now.
pub async fn stored_bytes_add_up(store: Arc<dyn Backend>) {
    let name = "stored-bytes";
    let stored_bytes = async |name| store.stored_bytes(&account(name)).await.expect("it is told");
    let client = Client::new(Arc::clone(&store));
    assert_eq!(stored_bytes(name).await, 0);
    client.apply(ask("stored-bytes-").set("neighbour", "1")).await;
    client.apply(ask("stored-byte").set("neighbour", "1")).await;
    assert_eq!(stored_bytes(name).await, 0);
    let of_row =
        |kind, id: &str, content: usize| cell(name, kind, id).as_bytes().len() + HEADER_BYTES + content;
    let meta = of_row(Kind::Meta, "", 8);
    client.apply(ask(name).set("large", long_string(VALUE_BYTES_MAX, 1)).set("k", "12").add("n", 1)).await;
    let [large, small] = [VALUE_BYTES_MAX, 2].map(|bytes| of_row(Kind::Value, "large", bytes));
    let others = meta + of_row(Kind::Value, "k", 2) + of_row(Kind::Counter, "n", 8);
    assert_eq!(stored_bytes(name).await, (others + large) as u64);
    client.apply(ask(name).set("large", "12")).await;
    assert_eq!(stored_bytes(name).await, (others + small) as u64);
    client.apply(ask(name).delete("large")).await;
    assert_eq!(stored_bytes(name).await, others as u64);
}
