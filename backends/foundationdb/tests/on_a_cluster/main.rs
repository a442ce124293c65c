//! The store on a real `fdbserver`. These tests have a `main` of their own, in which the client's network ends
//! before the process does; otherwise they are like any others.

mod frontends;
mod sizes;
mod snapshots;

use dragon_contract::Backend;
use dragon_contract::conformance::Case;
use dragon_foundationdb::{FoundationDbMetrics, FoundationDbStore, Network};
use dragon_private_foundationdb::{fresh_address, is_available};
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

static NETWORK: Mutex<Option<Network>> = Mutex::new(None);

/// Opens a store with metrics that nobody sees.
async fn connect(address: &str) -> FoundationDbStore {
    connect_with(address, FoundationDbMetrics::default()).await
}

async fn connect_with(address: &str, metrics: FoundationDbMetrics) -> FoundationDbStore {
    let address = address.parse().expect("an address");
    let store = {
        let network = NETWORK.lock().expect("nobody panics with it");
        FoundationDbStore::open(network.as_ref().expect("it runs"), &address, metrics)
    };
    let store = store.expect("the client is well");
    store.opened().await.expect("the store opens");
    store
}

async fn open() -> (Arc<dyn Backend>, ()) {
    let address = tokio::task::spawn_blocking(fresh_address).await.expect("a cluster");
    (Arc::new(connect(&address).await), ())
}

fn trial((name, case): Case) -> Trial {
    Trial::test(name, move || {
        Runtime::new()?.block_on(case());
        Ok(())
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !is_available() {
        return ExitCode::SUCCESS;
    }
    *NETWORK.lock().expect("nobody has it") = Some(Network::start().expect("the client starts"));
    let conformance = dragon_contract::conformance_suite!(cases of open);
    let cases = conformance.into_iter().chain(frontends::CASES).chain(sizes::CASES).chain(snapshots::CASES);
    let conclusion = libtest_mimic::run(&arguments, cases.map(trial).collect());
    drop(NETWORK.lock().expect("all tests have ended").take());
    conclusion.exit_code()
}
