//! A command under a lock is dead before the lock is granted to the next one, whatever stands still or dies.
//!
//! The command beats: it writes the time into a file, again and again, and does not listen to SIGTERM. The next one waits for the
//! lock all the while, and writes down when it got it.

use crate::server::signal;
use crate::user::{User, done, eventually};
use std::fs;
use std::process::Child;
use std::time::Duration;

const BEAT: &str = "trap '' TERM HUP INT; while :; do date +%s%N >>beats; sleep 0.01; done";
const NEXT: &str = "date +%s%N >next";

/// How often each of them is done; `DRAGON_TEST_PARTITION_ROUNDS=20` for a long run.
fn rounds() -> u32 {
    std::env::var("DRAGON_TEST_PARTITION_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap())
}

/// The last complete time in a file.
fn last_time(user: &User, name: &str) -> u128 {
    let text = fs::read_to_string(user.file(name)).unwrap();
    let (complete, _) = text.rsplit_once('\n').unwrap();
    complete.lines().last().unwrap().parse().unwrap()
}

/// Whether the command lives, which is the only shell in the user's folder whose script begins so.
fn is_beating(user: &User) -> bool {
    let folder = user.file("beats").parent().unwrap().to_owned();
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|process| {
        let is_here = fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        is_here && arguments.starts_with(b"sh\0-c\0trap")
    })
}

/// A holder whose command beats, and one that waits for the lock.
fn holder_and_next(user: &User, options: &[&str]) -> (Child, Child) {
    let holder = user.lock(options, BEAT);
    user.wait_for_file("beats");
    let next = user.lock(&[], NEXT);
    user.wait_for_waiting(1);
    (holder, next)
}

/// The next one gets the lock, and the command has beaten its last before.
fn assert_passed_on_after_death(user: &User, next: Child) {
    let next = done(next);
    assert_eq!(next.code, Some(0), "{}", next.errors);
    let (last, granted) = (last_time(user, "beats"), last_time(user, "next"));
    assert!(last < granted, "the command still ran {} ns after the lock was another's", last - granted);
    assert!(!is_beating(user), "the command still runs");
}

/// The server stands still, as behind a partition, for longer than the lease: nobody tells the holder anything.
#[test]
fn a_command_is_killed_before_the_next_grant_when_the_server_stands_still() {
    for _ in 0..rounds() {
        let user = User::new();
        let (holder, next) = holder_and_next(&user, &["--lease", "2s"]);
        user.server.signal("STOP");
        let ended = done(holder);
        assert_eq!(ended.code, Some(125), "{}", ended.errors);
        assert!(ended.errors.contains("could not be kept"), "{}", ended.errors);
        assert!(!is_beating(&user), "the command still runs");
        user.server.signal("CONT");
        assert_passed_on_after_death(&user, next);
    }
}

/// The server is back at any moment of the lease: the holder may keep the lock or lose it, but never when it is another's.
#[test]
fn a_command_and_the_next_one_never_run_at_once_however_long_the_server_stands_still() {
    for round in 0..rounds() {
        let user = User::new();
        let (mut holder, next) = holder_and_next(&user, &["--lease", "1s"]);
        user.server.signal("STOP");
        std::thread::sleep(Duration::from_millis(u64::from(600 + round * 67 % 900)));
        user.server.signal("CONT");
        std::thread::sleep(Duration::from_millis(500));
        if holder.try_wait().unwrap().is_none() {
            // It has kept the lock, or is about to lose it.
            signal(holder.id(), "KILL");
        }
        done(holder);
        assert_passed_on_after_death(&user, next);
    }
}

/// The command's own side stands still: the watchdog has it in view.
#[test]
fn a_command_is_killed_when_its_holder_stands_still() {
    for _ in 0..rounds() {
        let user = User::new();
        let (mut holder, next) = holder_and_next(&user, &["--lease", "2s"]);
        signal(holder.id(), "STOP");
        assert_passed_on_after_death(&user, next);
        holder.kill().unwrap();
        done(holder);
    }
}

#[test]
fn a_command_is_killed_at_once_when_its_holder_is() {
    let user = User::new();
    let (mut holder, next) = holder_and_next(&user, &["--lease", "3s"]);
    holder.kill().unwrap();
    eventually("the command's end", || !is_beating(&user));
    done(holder);
    // Nobody has given the lock back: it is free when the lease is over.
    assert_passed_on_after_death(&user, next);
}

#[test]
fn a_command_is_killed_when_another_gives_its_lock_back() {
    let user = User::new();
    let (holder, next) = holder_and_next(&user, &["--lease", "1s"]);
    let body = r#"{"UnlockID":"job","Unlock":1}"#;
    user.post("/db/default", body);
    let ended = done(holder);
    assert_eq!(ended.code, Some(125), "{}", ended.errors);
    assert_eq!(done(next).code, Some(0));
    assert!(!is_beating(&user), "the command still runs");
}

/// It is asked first.
#[test]
fn a_command_that_listens_may_tidy_up_before_it_is_killed() {
    let user = User::new();
    let script = "trap 'echo tidy >tidy; exit 0' TERM; echo in >beats; while :; do sleep 0.02; done";
    let holder = user.lock(&["--lease", "3s", "--term-before", "1s"], script);
    user.wait_for_file("beats");
    user.server.signal("STOP");
    let ended = done(holder);
    user.server.signal("CONT");
    assert_eq!(ended.code, Some(125), "{}", ended.errors);
    assert!(user.file("tidy").exists(), "{}", ended.errors);
}
