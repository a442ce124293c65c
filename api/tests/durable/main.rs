//! Durable before answered, seen from outside: the real server runs under strace, which records every
//! write and sync of its files and every answer it sends. One test checks that each answer comes
//! after the sync of what it tells; another plays power cuts: it builds the files as a disk could
//! hold them after a cut at any moment (what was not synced is there, missing, or torn) and opens them.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod disk;
mod server;
mod trace;

use disk::Disk;
use dragon_contract::Backend as _;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::layout;
use dragon_embedded::{EmbeddedMetrics, EmbeddedStore, LogBounds};
use server::TracedServer;
use trace::{Call, Event};

/// The numbers that answers told a client, in the order of the trace: the value of the counter.
fn answered(event: &Event) -> Option<i64> {
    let Call::Send { bytes } = &event.call else { return None };
    let text = String::from_utf8_lossy(bytes);
    let rest = text.split_once("\"Value\":")?.1;
    rest[..rest.find(|byte: char| !byte.is_ascii_digit())?].parse().ok()
}

#[test]
fn every_answer_comes_after_the_sync_of_what_it_tells() {
    let mut server = TracedServer::start();
    for number in 1..=40 {
        assert_eq!(server.add_one(), number);
    }
    let events = server.stop_and_read_trace();
    let mut last_answer_ns = 0;
    let mut answers = 0;
    for (at, event) in events.iter().enumerate() {
        if answered(event).is_none() {
            continue;
        }
        answers += 1;
        let synced = events[..at].iter().any(|earlier| {
            matches!(&earlier.call, Call::Sync { file } if file.starts_with("log-"))
                && earlier.begun_ns > last_answer_ns
                && earlier.ended_ns <= event.begun_ns
        });
        assert!(synced, "answer {answers} was sent before a sync of the log ended");
        last_answer_ns = event.begun_ns;
    }
    assert_eq!(answers, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_moment_loses_nothing_that_was_answered() {
    let mut server = TracedServer::start();
    for number in 1..=150 {
        assert_eq!(server.add_one(), number);
    }
    let events = server.stop_and_read_trace();
    let moves =
        events.iter().filter(|event| matches!(&event.call, Call::Rename { to, .. } if to == "log-spare"));
    assert!(moves.count() >= 2, "the log was not moved often enough to be cut while it is");
    let first_answer = events.iter().position(|event| answered(event).is_some()).unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = disk::Random(seed | 1);
    for round in 0..100 {
        let cut = first_answer + random.below(events.len() - first_answer);
        let mut disk = Disk::default();
        let mut told = 0;
        for event in &events[..cut] {
            disk.apply(&event.call);
            told = answered(event).unwrap_or(told);
        }
        let folder = tempfile::tempdir().unwrap();
        disk.cut_power(&mut random).write_to(folder.path());
        let store = EmbeddedStore::open(folder.path(), LogBounds::default(), EmbeddedMetrics::default());
        let store = store.unwrap_or_else(|error| panic!("seed {seed} round {round} cut {cut}: {error}"));
        let cell = Cell::new(&Account::new("a").unwrap(), Kind::Counter, "n");
        let loaded = store.load(std::slice::from_ref(&cell)).await.unwrap();
        let found = layout::read_counter(&cell, loaded.rows[0].as_ref()).unwrap();
        assert!(
            (told..=told + 1).contains(&found),
            "seed {seed} round {round} cut {cut}: told {told}, found {found}"
        );
    }
}
