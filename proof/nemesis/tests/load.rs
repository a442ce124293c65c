//! Rounds of the load against a real server, without faults: every kind of operation occurs with every outcome that it
//! can have then, and the record of it survives being written.

use dragon_checker::history::{Disturbance, History, Operation, Outcome};
use dragon_checker::{Expectations, check};
use dragon_nemesis::load::{Recorder, Round, Tempo, Totals, last_look};
use dragon_nemesis::reach::Frontend;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::task::JoinSet;

const PROGRAM: &str = "DRAGON_NEMESIS_PROGRAM";
/// Names a folder in which a history is kept that breaks the contract.
const KEEP: &str = "DRAGON_NEMESIS_KEEP";
const LISTENING: &str = "listening on http://";

/// What a wake-up may take on a busy machine.
const GRACE_US: u64 = 3_000_000;
/// Side by side: what one leaves to chance, another brings, and none may see another's.
const ACCOUNTS: [&str; 3] = ["one", "two", "three"];
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

/// A server on a store in memory; it ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts one on this store; port 0 is any that is free.
    fn start(store: &str, listen: &str) -> Self {
        let mut child = Command::new(program())
            .args(["serve", "--store", store, "--listen", listen, "--log", "info"])
            .args(["--log-format", "text", "--drain-delay", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(LISTENING)?.1.trim().parse().ok())
            .expect("the server says where it listens");
        // What it says later must be read, or it would wait for room to say it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's program: the one that is named, or what a build of the workspace has left beside this test.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return program.into();
    }
    let this = std::env::current_exe().expect("a test is a file");
    let found = this
        .ancestors()
        .flat_map(|folder| [folder.join("cloud-dragon"), folder.join("target/debug/cloud-dragon")]);
    found.into_iter().find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("no server's program: run `cargo build -p cloud-dragon --bin cloud-dragon`, or name one in {PROGRAM}")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn calm_rounds_have_every_operation_with_every_outcome() {
    let server = Server::start("memory:", "127.0.0.1:0");
    let frontends = [Frontend::new(server.address)];
    let recorder = Recorder::start();
    let rounds = rounds(&frontends, &recorder);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let in_time = recorder.ended();
    bring_to_end(rounds, &frontends, &recorder).await;
    let ended_us = recorder.now_us();
    let operations = recorder.finish();
    let totals = Totals::of(&operations);
    println!("{in_time} in 3 s, over after {} ms\n{totals}", ended_us / 1000);

    assert_eq!(recorder.broken_promises(), Vec::<String>::new());
    let missing: Vec<_> =
        EXPECTED.iter().filter(|(kind, outcome)| totals.count(kind, outcome) == 0).collect();
    assert!(missing.is_empty(), "{missing:?} did not occur:\n{totals}");
    assert!(totals.count("guard", "not_locked") + totals.count("extend", "not_locked") > 0, "{totals}");
    // Without faults only those who hung up do not know what became of their requests.
    for operation in &operations {
        let is_calm = operation.answer().is_some() || Totals::kind(operation) == "lock";
        assert!(is_calm && !matches!(operation.outcome, Outcome::NotApplied { .. }), "{operation:?}");
    }
    assert!(operations.is_sorted_by_key(|operation| operation.called_us));
    for account in ACCOUNTS {
        let count = operations.iter().filter(|operation| operation.account == account).count();
        assert!((200..900).contains(&count), "{account} has {count}");
    }
    check_clients(&operations);
    check_queues(&operations);

    let history = History { clock: recorder.machine_clock(), disturbances: Vec::new(), operations, ended_us };
    let mut written = Vec::new();
    history.write(&mut written).unwrap();
    assert!(History::read(&written[..]).unwrap() == history);
    judge(&history);
}

fn rounds(frontends: &[Frontend], recorder: &Recorder) -> Vec<Round> {
    let start =
        |(account, seed): (&&str, u64)| Round::start(frontends, account, recorder, seed, Tempo::default());
    ACCOUNTS.iter().zip(1..).map(start).collect()
}

async fn bring_to_end(rounds: Vec<Round>, frontends: &[Frontend], recorder: &Recorder) {
    let stops: JoinSet<()> = rounds.into_iter().map(Round::stop).collect();
    stops.join_all().await;
    for account in ACCOUNTS {
        last_look(frontends, account, recorder).await.expect("the server is there");
    }
}

fn judge(history: &History) {
    let report = check(history, &Expectations { grace_us: GRACE_US });
    println!("{report:?}");
    if let Some(folder) = std::env::var_os(KEEP).filter(|_| !report.is_clean()) {
        let file = PathBuf::from(folder).join(format!("{}.history", std::process::id()));
        let file = std::fs::File::create(file).expect("the folder can be written to");
        history.write(std::io::BufWriter::new(file)).expect("the disk has room");
    }
    let violations: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    assert!(report.is_clean(), "{violations:#?}, undecided: {:?}", report.undecided);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_leaves_open_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("embedded:{}", folder.path().join("data").display());
    let server = Server::start(&store, "127.0.0.1:0");
    let address = server.address;
    let frontends = [Frontend::new(address)];
    let recorder = Recorder::start();
    let rounds = rounds(&frontends, &recorder);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let begun_us = recorder.now_us();
    frontends[0].goes();
    drop(server);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _server = Server::start(&store, &address.to_string());
    let killed = Disturbance { what: "killed".to_owned(), begun_us, ended_us: recorder.now_us() };
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bring_to_end(rounds, &frontends, &recorder).await;
    let ended_us = recorder.now_us();
    let operations = recorder.finish();
    let totals = Totals::of(&operations);
    println!("{totals}");
    assert_eq!(recorder.broken_promises(), Vec::<String>::new());
    for outcome in ["unknown", "not applied"] {
        let count: u64 = totals.iter().filter(|(_, is, _)| *is == outcome).map(|(.., count)| count).sum();
        assert!(count > 10, "{count} {outcome}");
    }
    assert!(operations.iter().any(|operation| operation.incarnation == 1 && operation.applied().is_some()));
    check_clients(&operations);
    judge(&History { clock: recorder.machine_clock(), disturbances: vec![killed], operations, ended_us });
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
