//! A command under a lock is dead before the lock is granted to the next one, whatever stands still or dies.
//!
//! The command beats: it writes the time into a file, again and again, and does not listen to SIGTERM. The next one waits for the
//! lock all the while, and writes down when it got it.

use crate::server::signal;
use crate::user::{User, done, done_alone, eventually};
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

/// Whether the command lives, or something that it has started: what runs in the user's folder and has the beats in its arguments,
/// but for this program's own processes.
fn is_beating(user: &User) -> bool {
    let folder = user.file("beats").parent().unwrap().to_owned();
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|process| {
        let is_here = fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        let arguments = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let (program, rest) = arguments.split_once('\0').unwrap_or_default();
        is_here && rest.contains("beats") && !program.ends_with("cloud-dragon") && !program.ends_with("exe")
    })
}

/// A holder whose command beats, and one that waits for the lock.
fn holder_and_next(user: &User, options: &[&str]) -> (Child, Child) {
    holder_of_script_and_next(user, options, BEAT)
}

fn holder_of_script_and_next(user: &User, options: &[&str], script: &str) -> (Child, Child) {
    let holder = user.lock(options, script);
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
        let (mut holder, next) = holder_and_next(&user, &["--lease", "2s"]);
        user.server.signal("STOP");
        std::thread::sleep(Duration::from_millis(u64::from(1_200 + round * 134 % 1_800)));
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

/// What the command has started goes on when the command itself has ended, in ways in which programs do that.
const LEFT_BEHIND: [&str; 6] = [
    "sh -c \"$BEAT\"; true",
    "sh -c \"$BEAT\" & sleep 1000",
    "timeout 1000 sh -c \"$BEAT\"; true",
    "setsid sh -c \"$BEAT\" & sleep 1000",
    // The system cuts its name off within a letter.
    "cp /bin/sh aaaaaaaaaaaaaaé; setsid ./aaaaaaaaaaaaaaé -c \"$BEAT\"; true",
    // Each starts the next one and ends.
    "echo 'date +%s%N >>beats; sleep 0.01; sh ./chain &' >chain; sh ./chain; sleep 1000",
];

#[test]
fn what_a_command_has_started_is_dead_before_the_next_grant() {
    std::thread::scope(|scope| {
        for script in LEFT_BEHIND {
            scope.spawn(move || server_stands_still(script));
            scope.spawn(move || holder_stands_still(script));
        }
    });
}

fn server_stands_still(script: &str) {
    let user = User::new();
    let script = format!("BEAT={BEAT:?}; {script}");
    let (holder, next) = holder_of_script_and_next(&user, &["--lease", "3s"], &script);
    user.server.signal("STOP");
    assert_eq!(done(holder).code, Some(125), "{script}");
    assert!(!is_beating(&user), "it still runs: {script}");
    user.server.signal("CONT");
    assert_passed_on_after_death(&user, next);
}

fn holder_stands_still(script: &str) {
    let user = User::new();
    let script = format!("BEAT={BEAT:?}; {script}");
    let (mut holder, next) = holder_of_script_and_next(&user, &["--lease", "3s"], &script);
    signal(holder.id(), "STOP");
    assert_passed_on_after_death(&user, next);
    holder.kill().unwrap();
    done(holder);
}

/// The lock is given back by the end of the command, and what that has left in the background does not outlive it.
#[test]
fn what_a_command_leaves_in_the_background_ends_with_it() {
    let user = User::new();
    let script =
        format!("BEAT={BEAT:?}; setsid sh -c \"$BEAT\" & while [ ! -e go ]; do sleep 0.05; done; exit 5");
    let (holder, next) = holder_of_script_and_next(&user, &[], &script);
    fs::write(user.file("go"), "").unwrap();
    assert_eq!(done(holder).code, Some(5));
    assert_passed_on_after_death(&user, next);
}

#[test]
fn what_tidies_up_after_a_signal_is_given_time_and_not_the_lock_of_the_next() {
    let user = User::new();
    let tidy =
        "trap 'sleep 0.5; date +%s%N >>beats; exit' TERM; while :; do date +%s%N >>beats; sleep 0.05; done";
    let (holder, next) =
        holder_of_script_and_next(&user, &[], &format!("TIDY={tidy:?}; sh -c \"$TIDY\"; true"));
    signal(holder.id(), "TERM");
    assert_eq!(done(holder).code, Some(143));
    assert_passed_on_after_death(&user, next);
}

#[test]
fn a_command_is_killed_when_its_supervisor_is() {
    let user = User::new();
    let (holder, next) = holder_and_next(&user, &["--lease", "3s"]);
    let supervisor = supervisor_of(&holder);
    // It takes no part in what stops everything at once.
    for name in ["TERM", "INT", "HUP"] {
        signal(supervisor, name);
    }
    user.prints(&["list"]);
    assert!(is_beating(&user), "the supervisor has ended by a signal");
    signal(supervisor, "KILL");
    let ended = done(holder);
    assert_eq!(ended.code, Some(125), "{}", ended.errors);
    assert!(ended.errors.contains("its supervisor is gone"), "{}", ended.errors);
    assert!(!is_beating(&user), "the command still runs");
    assert_passed_on_after_death(&user, next);
}

#[test]
fn a_command_is_killed_when_its_supervisor_and_the_server_stand_still() {
    let user = User::new();
    let (holder, next) = holder_and_next(&user, &["--lease", "2s"]);
    signal(supervisor_of(&holder), "STOP");
    user.server.signal("STOP");
    assert_eq!(done(holder).code, Some(125));
    assert!(!is_beating(&user), "the command still runs");
    user.server.signal("CONT");
    assert_passed_on_after_death(&user, next);
}

fn supervisor_of(holder: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", holder.id());
    fs::read_to_string(children).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// A program that turns into the holder leaves it its children, which are none of the command's.
#[test]
fn what_was_there_before_is_not_killed() {
    let user = User::new();
    let script = "sh -c 'while [ ! -e end ]; do date +%s%N >>sidecar; sleep 0.02; done' & \
                  exec cloud-dragon lock job --lease 2s -- sh -c 'echo >>beats; sleep 1000'";
    let holder = user.command_of("sh", &["-c", script]).spawn().unwrap();
    user.wait_for_file("beats");
    user.server.signal("STOP");
    let ended = done_alone(holder);
    user.server.signal("CONT");
    assert_eq!(ended, Some(125));
    let killed = last_time(&user, "sidecar");
    eventually("what was there before", || last_time(&user, "sidecar") > killed);
    fs::write(user.file("end"), "").unwrap();
}

/// At any moment, from its start on.
#[test]
fn nothing_is_left_of_a_holder_that_is_killed_as_it_starts() {
    let user = User::new();
    for round in 0..60_u64 {
        let mut holder = user.lock(&["--lease", "1s"], BEAT);
        std::thread::sleep(Duration::from_micros(round * 700));
        holder.kill().unwrap();
        done(holder);
    }
    eventually("the end of all of them", || !is_beating(&user));
}

/// The command's own side stands still: the supervisor goes by the time.
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
    let (holder, next) = holder_and_next(&user, &["--lease", "3s"]);
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
    let script = "trap 'echo tidy >>tidy; exit 0' TERM; echo in >beats; while :; do sleep 0.02; done";
    let start = || {
        let holder = user.lock(&["--lease", "3s", "--term-before", "1s"], script);
        user.wait_for_file("beats");
        holder
    };
    let holder = start();
    user.server.signal("STOP");
    let ended = done(holder);
    user.server.signal("CONT");
    assert_eq!(ended.code, Some(125), "{}", ended.errors);
    assert!(user.file("tidy").exists(), "{}", ended.errors);

    for file in ["tidy", "beats"] {
        fs::remove_file(user.file(file)).unwrap();
    }
    let mut holder = start();
    signal(holder.id(), "STOP");
    user.wait_for_file("tidy");
    holder.kill().unwrap();
    done(holder);
}

/// A signal that it lives on after is not the one that asks it to end.
#[test]
fn a_command_that_was_told_something_before_is_asked_to_end_too() {
    let user = User::new();
    let script = "trap 'echo reload >>f' HUP; trap 'echo tidy >>f; exit 0' TERM; echo in >f; while :; do sleep 0.02; done";
    let holder = user.lock(&["--lease", "3s", "--term-before", "1s"], script);
    user.wait_for_file("f");
    signal(holder.id(), "HUP");
    eventually("the signal", || fs::read_to_string(user.file("f")).unwrap().contains("reload"));
    user.server.signal("STOP");
    assert_eq!(done(holder).code, Some(125));
    user.server.signal("CONT");
    assert_eq!(fs::read_to_string(user.file("f")).unwrap(), "in\nreload\ntidy\n");
}

/// The server is back before the command is asked to end, and that is told in time.
#[test]
fn a_lease_that_is_extended_late_keeps_the_command() {
    let user = User::new();
    let held = user.lock(&["--lease", "6s"], "echo in >f; sleep 8; exit 5");
    user.wait_for_file("f");
    user.server.signal("STOP");
    std::thread::sleep(Duration::from_millis(3_000));
    user.server.signal("CONT");
    let ended = done(held);
    assert_eq!(ended.code, Some(5), "{}", ended.errors);
}
