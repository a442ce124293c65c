//! A client of Cloud Dragon, the synchronisation server: locks that extend themselves, watches that miss nothing, values,
//! counters, and atomic requests of all of these that happen once, whatever the connection does.
//!
//! # The first lock in ten lines
//!
//! ```no_run
//! use dragon_client::{Client, Error, Request};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let account = Client::new("http://127.0.0.1:8080")?.account("jobs")?;
//! let guard = account.lock("nightly").lease(Duration::from_secs(30)).wait(Duration::from_secs(60)).acquire().await?;
//! tokio::select! {
//!     () = work() => {}
//!     why = guard.lost() => return Err(why.into()),
//! }
//! account.transact(guard.guard(Request::new().add("nights", 1))?).await?; // refused, were the lock lost
//! guard.release().await?;
//! # Ok(()) }
//! # async fn work() {}
//! ```
//!
//! # What to use
//!
//! | for | use |
//! |---|---|
//! | work that one process at a time may do | [`Account::lock`], [`LockGuard`] |
//! | a value, read and written | [`Account::get`], [`Account::set`], [`Account::update`] |
//! | configuration that is told when it changes | [`Account::watch`] |
//! | sequences and counts | [`Account::add`], [`Account::compare_and_swap`] |
//! | several of these at once, or none | [`Request`], [`Account::transact_once`] |
//! | seeing what is there | [`Account::values`], [`Account::counters`], [`Account::locks`] |
//!
//! # What is sent again
//!
//! Reads, watches and lists are sent again after failures that may pass, with growing pauses, for as long as the client's
//! [`RetryPolicy`] says. A write is sent again only with an idempotency id, by which the server applies it once:
//! [`Account::transact_once`], and all that writes one value or counter, give it one. [`Account::transact`] sends a write
//! once and leaves the rest to its caller.
//!
//! Durations that the server is told are whole seconds.

mod account;
mod answer;
mod client;
mod counters;
mod error;
mod list;
mod lock;
mod operations;
mod request;
mod retry;
mod values;
mod watch;

pub use account::Account;
pub use answer::{Answer, CounterState, Handle, LockState, Till, ValueState};
pub use client::{Client, ClientBuilder};
pub use error::{Code, Error, Refusal};
pub use list::{List, Listed, Page};
pub use lock::{LockBuilder, LockGuard, Lost};
pub use operations::{Count, Set};
pub use request::Request;
pub use retry::RetryPolicy;
pub use watch::Watch;
