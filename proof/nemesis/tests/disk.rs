//! What a disk holds after a power cut, and whether the journal has all that a process did.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

use dragon_nemesis::disk::{Disk, Event, Image, Shim, read_journal};
use dragon_nemesis::random::Random;
use std::collections::BTreeSet;
use std::process::Command;

fn open(name: &str) -> Event {
    Event::Open { name: name.into() }
}

fn write(name: &str, at: u64, bytes: &[u8]) -> Event {
    Event::Write { name: name.into(), at, bytes: bytes.to_vec() }
}

fn sync(name: &str, sync: u64) -> [Event; 2] {
    [Event::SyncBegins { name: name.into(), sync }, Event::SyncEnds { sync }]
}

fn rename(from: &str, to: &str) -> Event {
    Event::Rename { from: from.into(), to: to.into() }
}

fn disk(events: impl IntoIterator<Item = Event>) -> Disk {
    let mut disk = Disk::default();
    events.into_iter().for_each(|event| disk.apply(event));
    disk
}

/// What a file may be after a cut: some hundred of them show all that is likely.
fn possible(disk: &Disk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let mut random = Random::new(7);
    (0..300).map(|_| disk.cut_power(&mut random).file(name).map(<[u8]>::to_vec)).collect()
}

fn some(text: &[u8]) -> Option<Vec<u8>> {
    Some(text.to_vec())
}

#[test]
fn what_was_synced_stays_and_the_rest_may() {
    let [begins, ends] = sync("f", 1);
    let disk = disk([open("f"), write("f", 0, b"ab"), begins, write("f", 1, b"xy"), ends]);
    // The second write came after the sync began.
    assert_eq!(possible(&disk, "f"), BTreeSet::from([some(b"ab"), some(b"axy")]));
}

#[test]
fn a_sync_that_has_not_ended_promises_nothing() {
    let [begins, _] = sync("f", 1);
    let [folder_begins, folder_ends] = sync("", 2);
    let disk = disk([open("f"), write("f", 0, b"ab"), begins, folder_begins, folder_ends]);
    assert_eq!(possible(&disk, "f"), BTreeSet::from([some(b""), some(b"ab")]));
}

#[test]
fn a_write_may_be_torn_between_sectors() {
    let [begins, ends] = sync("f", 1);
    let disk = disk([open("f"), begins, ends, write("f", 0, &[1; 1024])]);
    let torn = [vec![], vec![1; 512], [vec![0; 512], vec![1; 512]].concat(), vec![1; 1024]];
    assert_eq!(possible(&disk, "f"), torn.into_iter().map(Some).collect());
}

#[test]
fn names_are_kept_up_to_some_moment() {
    let mut events = vec![open("a")];
    events.extend(sync("", 1));
    events.extend([rename("a", "b"), rename("b", "c"), open("d")]);
    let mut random = Random::new(7);
    let disk = disk(events);
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let image = disk.cut_power(&mut random);
        seen.insert(["a", "b", "c", "d"].map(|name| image.file(name).is_some()));
    }
    let (yes, no) = (true, false);
    let expected = [[yes, no, no, no], [no, yes, no, no], [no, no, yes, no], [no, no, yes, yes]];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn the_sync_of_a_file_makes_its_name_durable_with_those_before() {
    let mut events = vec![open("a"), open("b"), open("c")];
    events.extend(sync("b", 1));
    let disk = disk(events);
    assert_eq!(possible(&disk, "a"), BTreeSet::from([some(b"")]));
    assert_eq!(possible(&disk, "b"), BTreeSet::from([some(b"")]));
    assert_eq!(possible(&disk, "c"), BTreeSet::from([None, some(b"")]));
}

#[test]
fn what_a_kill_left_is_taken_over_unsynced() {
    let mut events = vec![open("f"), write("f", 0, b"ab")];
    events.extend(sync("f", 1));
    let mut disk = disk(events);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), b"abc").unwrap();
    let found = Image::of(folder.path()).unwrap();
    disk.becomes(&found);
    assert_eq!(disk.seen(), found);
    assert!(possible(&disk, "f").contains(&some(b"ab")) && possible(&disk, "f").contains(&some(b"abc")));
}

/// A process that does with files all that the library knows, in Python for its short names of system calls.
const SCRIPT: &str = r#"
import os, sys
folder = sys.argv[1]
at = lambda name: os.path.join(folder, name)
f = os.open(at("a"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
os.write(f, b"written")
os.pwrite(f, b"W", 0)
os.writev(f, [b" in", b" parts"])
os.pwritev(f, [b"T", b"T"], 3)
os.ftruncate(f, 14)
os.fsync(f)
os.posix_fallocate(f, 0, 20)
os.rename(at("a"), at("b"))
os.write(f, b"!")
os.fdatasync(f)
g = os.open(at("gone"), os.O_WRONLY | os.O_CREAT)
os.unlink(at("gone"))
os.write(g, b"nobody sees this")
h = os.open(at("appended"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(h, b"one")
os.write(h, b"two")
os.kill(os.getpid(), 9)
"#;

#[test]
fn the_journal_has_all_that_a_process_did() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().canonicalize().unwrap().join("data");
    std::fs::create_dir(&data).unwrap();
    let shim = Shim::build(folder.path(), &data, true).unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).arg(&data).env("LD_PRELOAD", shim.library()).envs(shim.environment());
    assert!(!python.status().expect("python3 runs").success());
    assert!(shim.counts().unwrap().loaded > 0);
    let mut disk = Disk::default();
    let mut syncs = 0;
    read_journal(shim.journal().unwrap(), |event| {
        syncs += usize::from(matches!(event, Event::SyncEnds { .. }));
        disk.apply(event);
    })
    .unwrap();
    assert_eq!(syncs, 2);
    assert_eq!(disk.seen(), Image::of(&data).unwrap());
    let content = disk.seen().file("b").unwrap().to_vec();
    assert!(content.starts_with(b"WriTTen in par"), "{}", String::from_utf8_lossy(&content));
}
