//! `lock NAME -- COMMAND`, while the server can be reached.

use crate::server::signal;
use crate::user::{User, done, eventually};
use std::fs;

#[test]
fn it_ends_as_the_command_ends_and_gives_the_lock_back() {
    let user = User::new();
    let script = "echo $DRAGON_LOCK_ID $DRAGON_LOCK_HANDLE; cloud-dragon list --kind locks --names; exit 7";
    let held = done(user.lock(&[], script));
    assert_eq!((held.code, held.output.as_str()), (Some(7), "job 1\njob\n"), "{}", held.errors);
    assert_eq!(user.prints(&["list", "--kind", "locks"]), "");
    for (script, code) in [("true", 0), ("kill -9 $$", 137), ("kill $$", 143)] {
        assert_eq!(done(user.lock(&[], script)).code, Some(code), "{script}");
    }
    assert_eq!(user.run(&["lock", "job", "--", "/nowhere/x"]).code, Some(127));
    assert_eq!(user.run(&["lock", "job", "--", "/dev/null"]).code, Some(126));
    assert_eq!(user.prints(&["list", "--kind", "locks"]), "");
}

#[test]
fn the_next_one_waits_for_the_end_of_the_command() {
    let user = User::new();
    let first = user.lock(
        &["--owner", "first"],
        "echo began >f; while [ ! -e go ]; do sleep 0.05; done; echo first >>order",
    );
    user.wait_for_file("f");
    let refused = done(user.lock(&["--wait", "0s"], "true"));
    assert_eq!(refused.code, Some(124));
    assert!(refused.errors.contains("held by \"first\""), "{}", refused.errors);
    let second = user.lock(&[], "echo second >>order");
    user.wait_for_waiting(1);
    fs::write(user.file("go"), "\n").unwrap();
    for process in [first, second] {
        let ended = done(process);
        assert!(ended.code.is_some(), "{ended:?}");
    }
    assert!(fs::read_to_string(user.file("order")).unwrap().ends_with("second\n"));
}

#[test]
fn a_write_is_refused_once_the_lock_is_lost() {
    let user = User::new();
    let script = "cloud-dragon set k 1 --locked && echo in >>f && while [ ! -e go ]; do sleep 0.05; done";
    let held = user.lock(&[], script);
    user.wait_for_file("f");
    assert_eq!(user.prints(&["get", "k"]), "1\n");
    fs::write(user.file("go"), "").unwrap();
    assert_eq!(done(held).code, Some(0));
    let mut late = user.command(&["set", "k", "2", "--locked"]);
    late.env("DRAGON_LOCK_ID", "job").env("DRAGON_LOCK_HANDLE", "1");
    let refused = done(late.spawn().unwrap());
    assert_eq!(refused.code, Some(1), "{}", refused.errors);
    assert!(refused.errors.contains("not_locked"), "{}", refused.errors);
    assert_eq!(user.prints(&["get", "k"]), "1\n");
}

#[test]
fn the_lease_is_extended_as_long_as_the_command_runs() {
    let user = User::new();
    let held = user.lock(&["--lease", "3s"], "echo in >f; sleep 7; cloud-dragon set k 1 --locked");
    user.wait_for_file("f");
    let next = user.lock(&[], "cloud-dragon get k");
    let (held, next) = (done(held), done(next));
    assert_eq!((held.code, next.output.as_str()), (Some(0), "1\n"), "{} {}", held.errors, next.errors);
}

#[test]
fn signals_are_passed_on() {
    let user = User::new();
    let script = "trap 'echo bye >>f; exit 3' TERM; echo in >f; while :; do sleep 0.05; done";
    let held = user.lock(&[], script);
    user.wait_for_file("f");
    signal(held.id(), "TERM");
    assert_eq!(done(held).code, Some(3));
    assert_eq!(fs::read_to_string(user.file("f")).unwrap(), "in\nbye\n");
    assert_eq!(user.prints(&["list", "--kind", "locks"]), "");
}

#[test]
fn whoever_is_interrupted_while_waiting_leaves_the_queue() {
    let user = User::new();
    let held = user.lock(&[], "while [ ! -e go ]; do sleep 0.05; done");
    eventually("the lock", || !user.prints(&["list", "--kind", "locks"]).is_empty());
    let waiting = user.lock(&[], "echo never >never");
    user.wait_for_waiting(1);
    signal(waiting.id(), "INT");
    assert_eq!(done(waiting).code, Some(130));
    user.wait_for_waiting(0);
    fs::write(user.file("go"), "").unwrap();
    assert_eq!(done(held).code, Some(0));
    assert_eq!(user.prints(&["list", "--kind", "locks"]), "");
    assert!(!user.file("never").exists());
}

#[test]
fn a_signal_that_ends_nothing_is_passed_on_too() {
    let user = User::new();
    let script = "trap 'echo reload >>f' USR1; echo in >f; while [ ! -e go ]; do sleep 0.05; done; exit 4";
    let held = user.lock(&[], script);
    user.wait_for_file("f");
    signal(held.id(), "USR1");
    eventually("the signal", || fs::read_to_string(user.file("f")).unwrap() == "in\nreload\n");
    fs::write(user.file("go"), "").unwrap();
    assert_eq!(done(held).code, Some(4));
}

#[test]
fn what_was_ignored_stays_ignored() {
    let user = User::new();
    let script = "trap '' HUP; exec cloud-dragon lock job -- sh -c 'echo in >f; while [ ! -e go ]; do sleep 0.05; done; kill -HUP $$; exit 6'";
    let held = user.command_of("sh", &["-c", script]).spawn().unwrap();
    user.wait_for_file("f");
    signal(held.id(), "HUP");
    fs::write(user.file("go"), "").unwrap();
    assert_eq!(done(held).code, Some(6));
}

/// What the holder of one lock has left half done is none of another's.
#[test]
fn the_command_is_told_whether_the_holder_before_let_its_lease_run_out() {
    let user = User::new();
    user.post("/db/default", r#"{"LockID":"job","LockDur":1}"#);
    let script = "echo \"${DRAGON_LOCK_EXPIRED-no}\"; cloud-dragon lock other -- sh -c 'echo \"${DRAGON_LOCK_EXPIRED-no}\"'";
    assert_eq!(done(user.lock(&[], script)).output, "true\nno\n");
}
