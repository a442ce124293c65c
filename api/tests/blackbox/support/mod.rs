//! What the tests stand on: the server's processes, a client that sends what it is told, and helpers
//! that read answers strictly.

mod account;
mod answer;
mod client;
mod frontend;
mod json;
mod server;
mod store;

pub use account::{Account, shared_account};
pub use answer::Answer;
pub use client::{Connection, Pending, request_bytes};
pub use frontend::{Exit, Frontend};
pub use json::{first_version, json_text, raw_field, raw_values};
pub use server::{Server, shared_server};
pub use store::only_embedded;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long anything may take that should happen: long enough for the busiest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `look` finds something. Only for what the contract offers no event for.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// The same with a patience of its own.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What makes a process see another time.
pub fn faketime_library() -> PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = libraries.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.into_iter().find(|path| path.exists()).expect("install Debian's package `libfaketime`")
}

/// The settings of a process that does. Its monotonic clock is left alone: a wrong clock of the machine does not touch that
/// one either.
pub fn at_another_time<'a>(library: &'a Path, time: &'a str) -> [(&'static str, &'a str); 3] {
    let library = library.to_str().unwrap();
    [("LD_PRELOAD", library), ("FAKETIME", time), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
}

/// The machine's time, which is also the stores', in Unix seconds.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Checks a `Till` of a lease of `dur_s` that was given between `before_s` and now.
pub fn assert_till(till: u64, before_s: u64, dur_s: u64) {
    // One second of leave: the store's clock never goes back, the machine's may.
    let expected = before_s + dur_s - 1..=unix_s() + dur_s + 1;
    assert!(expected.contains(&till), "Till {till} is not in {expected:?}");
}
