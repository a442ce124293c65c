//! What the server holds at the end, read from aside.

use crate::answers::{Kv, Sum, Values};
use crate::probe::Probe;
use crate::space::{Space, key_name};
use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// As many as one request may read, and less where values are large.
const KEYS_A_READ: usize = 1_000;
const READ_BYTES_MAX: usize = 16 << 20;

/// The values of these keys of an account, in their order.
///
/// # Errors
/// When others are answered.
pub async fn values<V: DeserializeOwned>(
    probe: &mut Probe,
    space: &Space,
    account: usize,
    keys: &[usize],
    value_bytes: usize,
) -> Result<Vec<Kv<V>>> {
    let path = format!("/db/{}", space.account(account));
    let mut all = Vec::with_capacity(keys.len());
    for some in keys.chunks(KEYS_A_READ.min(READ_BYTES_MAX / (value_bytes + 100)).max(1)) {
        let names: Vec<Value> = some.iter().map(|key| json!({"Key": key_name(*key)})).collect();
        let values: Values<V> = probe.ask(&path, &json!({"KVGet": names})).await?;
        ensure!(values.kv.len() == some.len(), "{} of {} keys answered", values.kv.len(), some.len());
        for (key, kv) in some.iter().zip(values.kv) {
            ensure!(kv.key == key_name(*key), "asked for {}, answered for {}", key_name(*key), kv.key);
            all.push(kv);
        }
    }
    Ok(all)
}

/// The counters of these names in an account, in their order.
///
/// # Errors
/// When others are answered.
pub async fn counters(
    probe: &mut Probe,
    space: &Space,
    account: usize,
    names: &[String],
) -> Result<Vec<u64>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Read {
        atomic: Vec<Sum>,
    }
    let path = format!("/db/{}", space.account(account));
    let mut all = Vec::with_capacity(names.len());
    for some in names.chunks(KEYS_A_READ) {
        let reads: Vec<Value> = some.iter().map(|name| json!({"Key": name})).collect();
        let read: Read = probe.ask(&path, &json!({"Atomic": reads})).await?;
        ensure!(read.atomic.len() == some.len(), "{} of {} counters", read.atomic.len(), some.len());
        for (name, sum) in some.iter().zip(read.atomic) {
            ensure!(&sum.key == name, "asked for {name}, answered for {}", sum.key);
            all.push(sum.value);
        }
    }
    Ok(all)
}

/// Checks that no lock of any account is held.
///
/// # Errors
/// When one is.
pub async fn no_locks(probe: &mut Probe, space: &Space) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Page {
        locks: Vec<Lock>,
    }
    #[derive(Deserialize)]
    struct Lock {
        #[serde(rename = "ID")]
        id: String,
    }
    for account in 0..space.accounts {
        let path = format!("/list/{}", space.account(account));
        let page: Page = probe.ask(&path, &json!({"Kind": "Locks"})).await?;
        if let Some(lock) = page.locks.first() {
            bail!("{} is held, though everyone has released it", lock.id);
        }
    }
    Ok(())
}
