//! Rounds of the load without faults: every kind of operation occurs with every outcome that it can have then, and the
//! record of it survives being written.

use crate::settings;
use dragon_checker::history::{History, Operation, Outcome};
use dragon_checker::{Expectations, check};
use dragon_nemesis::campaign::GRACE_US;
use dragon_nemesis::cluster::{Cluster, Store};
use dragon_nemesis::load::{Recorder, Round, Tempo, Totals, last_look};
use dragon_nemesis::reach::Frontend;
use std::time::Duration;
use tokio::task::JoinSet;

/// Side by side: what one leaves to chance, another brings, and none may see another's.
const ACCOUNTS: [&str; 3] = ["one", "two", "three"];
/// How often it is tried until everything has occurred: some of it is rare.
const PASSES_MAX: u64 = 6;
/// What occurs in them together.
const EXPECTED: [(&str, &str); 24] = [
    ("read", "200"),
    ("write", "200"),
    ("write", "precondition_failed"),
    ("swap", "200"),
    ("swap", "precondition_failed"),
    ("counter", "200"),
    ("counter", "precondition_failed"),
    ("counter", "counter_overflow"),
    ("payment", "200"),
    ("payment", "duplicate_request"),
    ("lock", "200"),
    ("lock", "lock_timeout"),
    ("lock", "unknown"),
    ("guard", "200"),
    ("extend", "200"),
    ("pass on", "200"),
    ("pass on", "lock_timeout"),
    ("unlock", "200"),
    ("unlock", "not_locked"),
    ("watch", "200"),
    ("watch", "204"),
    ("list values", "200"),
    ("list counters", "200"),
    ("list locks", "200"),
];

#[tokio::test(flavor = "multi_thread")]
async fn calm_rounds_have_every_operation_with_every_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&settings(Store::Memory, 1, folder.path())).await.unwrap();
    cluster.wait_until_ready(Duration::from_secs(60)).await.unwrap();
    let frontends = cluster.frontends();
    let recorder = Recorder::start();
    let mut operations = Vec::new();
    for pass in 1.. {
        let rounds = rounds(&frontends, &recorder, pass);
        tokio::time::sleep(Duration::from_secs(3)).await;
        bring_to_end(rounds, &frontends, &recorder, pass).await;
        operations.extend(recorder.finish());
        let totals = Totals::of(&operations);
        let is_missing = |(kind, outcome): &&(&str, &str)| totals.count(kind, outcome) == 0;
        let missing: Vec<_> = EXPECTED.iter().filter(is_missing).collect();
        if missing.is_empty() {
            break;
        }
        assert!(pass < PASSES_MAX, "{missing:?} did not occur:\n{totals}");
    }
    let ended_us = recorder.now_us();
    assert_eq!(recorder.broken_promises(), Vec::<String>::new());
    // Without faults only those who hung up do not know what became of their requests.
    for operation in &operations {
        let is_calm = operation.answer().is_some() || Totals::kind(operation) == "lock";
        assert!(is_calm && !matches!(operation.outcome, Outcome::NotApplied { .. }), "{operation:?}");
    }
    assert!(operations.is_sorted_by_key(|operation| operation.called_us));
    check_clients(&operations);
    check_queues(&operations);

    let history = History { clock: recorder.machine_clock(), disturbances: Vec::new(), operations, ended_us };
    let mut written = Vec::new();
    history.write(&mut written).unwrap();
    assert!(History::read(&written[..]).unwrap() == history);
    let report = check(&history, &Expectations { grace_us: GRACE_US });
    assert!(report.is_clean(), "{report:#?}");
}

fn account(name: &str, pass: u64) -> String {
    format!("{name}-{pass}")
}

fn rounds(frontends: &[Frontend], recorder: &Recorder, pass: u64) -> Vec<Round> {
    let start = |(name, number): (&&str, u64)| {
        Round::start(frontends, &account(name, pass), recorder, 10 * pass + number, Tempo::default())
    };
    ACCOUNTS.iter().zip(1..).map(start).collect()
}

async fn bring_to_end(rounds: Vec<Round>, frontends: &[Frontend], recorder: &Recorder, pass: u64) {
    let stops: JoinSet<()> = rounds.into_iter().map(Round::stop).collect();
    stops.join_all().await;
    for name in ACCOUNTS {
        last_look(frontends, &account(name, pass), recorder).await.expect("the server is there");
    }
}

/// Each client has one operation at a time, and none after one of unknown fate.
fn check_clients(operations: &[Operation]) {
    let mut until = std::collections::HashMap::new();
    for operation in operations {
        let ended = operation.returned_us().unwrap_or(u64::MAX);
        let before = until.insert(operation.client, ended);
        assert!(before.is_none_or(|before| before <= operation.called_us), "{operation:?}");
        assert!(operation.called_us <= ended);
    }
}

/// Several waiters were seen in queues, and got their locks in that order.
fn check_queues(operations: &[Operation]) {
    let mut queued: Vec<_> = operations.iter().filter(|operation| operation.queued_us.is_some()).collect();
    assert!(queued.len() > 3, "{} were seen in a queue", queued.len());
    queued.sort_by_key(|operation| operation.queued_us);
    let mut handles = std::collections::HashMap::new();
    for operation in queued {
        assert!(operation.queued_us > Some(operation.called_us));
        let Some(answer) = operation.applied() else { continue };
        let handle = answer["Lock"].as_u64().expect("a grant has a handle");
        let before = handles.insert((&operation.account, operation.body["LockID"].to_string()), handle);
        assert!(before.is_none_or(|before| before < handle), "{operation:?} was overtaken");
    }
}
