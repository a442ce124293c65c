//! `get`, `set`, `delete`, `list`, `watch`, `incr` and `cas`.

use crate::user::{User, done};
use std::io::Write as _;
use std::process::Stdio;

#[test]
fn values_are_written_and_read_byte_for_byte() {
    let user = User::new();
    let exact = r#"{"b":1.10, "a":123456789012345678901234567890,"e":"\u00e9"}"#;
    assert_eq!(user.prints(&["set", "k", exact]), "1\n");
    assert_eq!(user.prints(&["get", "k"]), format!("{exact}\n"));
    let object = format!("{{\"Key\":\"k\",\"Version\":1,\"Value\":{exact}}}\n");
    assert_eq!(user.prints(&["get", "k", "--output", "json"]), object);
    assert_eq!(user.prints(&["list"]), object);

    assert_eq!(user.prints(&["set", "t", "--text", "a \"b\"\n"]), "2\n");
    assert_eq!(user.prints(&["get", "t"]), "\"a \\\"b\\\"\\n\"\n");
    assert_eq!(user.prints(&["get", "t", "-o", "text"]), "a \"b\"\n\n");
    assert_eq!(user.prints(&["set", "n", "-5"]), "3\n");
    assert_eq!(user.prints(&["set", "nothing", "null"]), "4\n");
    assert_eq!(user.prints(&["get", "nothing"]), "null\n");
    assert_eq!(user.prints(&["list", "--names"]), "k\nn\nnothing\nt\n");
    assert_eq!(user.prints(&["list", "n", "--names"]), "n\nnothing\n");

    let mut process = user.command(&["set", "in", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(b" [1,\n2]\n").unwrap();
    assert_eq!(done(process).output, "5\n");
    assert_eq!(user.prints(&["get", "in"]), "[1,\n2]\n");
}

/// As grep does: 1 says no, 2 says that something is wrong.
#[test]
fn the_exit_code_tells_no_from_trouble() {
    let user = User::new();
    let ends = |arguments: &[&str], code: i32, says: &str| {
        let done = user.run(arguments);
        assert_eq!((done.code, done.output.as_str()), (Some(code), ""), "{arguments:?}: {}", done.errors);
        assert!(done.errors.contains(says), "{arguments:?}: {}", done.errors);
    };
    ends(&["get", "k"], 1, "no such key: k");
    user.prints(&["set", "k", "1", "--if-version", "0"]);
    ends(&["set", "k", "2", "--if-version", "0"], 1, "precondition_failed");
    ends(&["delete", "k", "--if-version", "7"], 1, "precondition_failed");
    ends(&["set", "k", "hello"], 2, "--text");
    ends(&["set", "k", "1", "--ttl", "1ms"], 2, "whole seconds");
    ends(&["set", "k", "1", "--account", "a/b"], 2, "is no account");
    ends(&["set", "k", "1", "--server", "nonsense"], 2, "error");
    ends(&["set", "k", "1", "--locked"], 2, "does not run under `cloud-dragon lock`");
    assert_eq!(user.prints(&["get", "k"]), "1\n");
}

#[test]
fn counters_are_added_to_and_swapped() {
    let user = User::new();
    assert_eq!(user.prints(&["incr", "n"]), "1\n");
    assert_eq!(user.prints(&["incr", "n", "-5"]), "-4\n");
    assert_eq!(user.prints(&["cas", "n", "-4", "9223372036854775807"]), "9223372036854775807\n");
    assert_eq!(user.run(&["cas", "n", "-4", "1"]).code, Some(1));
    assert_eq!(user.run(&["incr", "n"]).code, Some(1));
    assert_eq!(user.prints(&["get", "--counter", "n"]), "9223372036854775807\n");
    assert_eq!(
        user.prints(&["list", "--kind", "counters"]),
        "{\"Key\":\"n\",\"Value\":9223372036854775807}\n"
    );
    assert_eq!(user.prints(&["delete", "n", "--counter"]), "0\n");
    assert_eq!(user.prints(&["list", "--kind", "counters"]), "");
}

#[test]
fn an_idempotency_id_makes_a_command_happen_once() {
    let user = User::new();
    for _ in 0..3 {
        assert_eq!(user.prints(&["incr", "n", "30", "--idempotency-id", "payment-4711"]), "30\n");
    }
    let other = user.run(&["incr", "n", "31", "--idempotency-id", "payment-4711"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert_eq!(user.prints(&["get", "--counter", "n"]), "30\n");
}

#[test]
fn accounts_are_apart() {
    let user = User::new();
    user.prints(&["set", "k", "1", "--account", "one"]);
    assert_eq!(user.run(&["get", "k"]).code, Some(1));
    let mut get = user.command(&["get", "k"]);
    assert_eq!(done(get.env("DRAGON_ACCOUNT", "one").spawn().unwrap()).output, "1\n");
}

#[test]
fn a_watch_prints_each_change_as_it_comes() {
    let user = User::new();
    let watch = user.start(&["watch", "k", "--count", "3"]);
    user.prints(&["set", "k", "1"]);
    // What is there at once may come as one; a version that was read first is seen by itself.
    let seen = user.prints(&["watch", "k", "--count", "1"]);
    assert_eq!(seen, "{\"Key\":\"k\",\"Version\":1,\"Value\":1}\n");
    user.prints(&["watch", "k", "--count", "1"]);
    let second = user.start(&["watch", "k", "--after", "1", "--count", "1"]);
    user.prints(&["set", "k", "2"]);
    assert_eq!(done(second).output, "{\"Key\":\"k\",\"Version\":2,\"Value\":2}\n");
    let third = user.start(&["watch", "k", "--after", "2", "--count", "1"]);
    user.prints(&["delete", "k"]);
    assert_eq!(done(third).output, "{\"Key\":\"k\",\"Version\":0}\n");
    // The first one may have seen several changes as one.
    let mut watch = watch;
    watch.kill().unwrap();
    done(watch);
}

#[test]
fn shells_complete_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let user = crate::server::program().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(user.stdout).unwrap();
        assert!(user.status.success() && script.contains("incr") && script.contains("lease"), "{shell}");
    }
}

/// A value may have line breaks, and a reader of lines must not see two.
#[test]
fn a_line_has_a_whole_object() {
    let user = User::new();
    user.prints(&["set", "k", "[1,\n2]"]);
    let line = "{\"Key\":\"k\",\"Version\":1,\"Value\":[1, 2]}\n";
    assert_eq!(user.prints(&["list"]), line);
    assert_eq!(user.prints(&["watch", "k", "--count", "1"]), line);
    assert_eq!(user.prints(&["get", "k"]), "[1,\n2]\n");
}

#[test]
fn whoever_does_not_read_on_is_no_trouble() {
    let user = User::new();
    user.prints(&["set", "k", &format!("\"{}\"", "x".repeat(100_000))]);
    let script = "cloud-dragon list | true; cloud-dragon get nothing 2>/dev/full; echo $?; \
                  cloud-dragon incr n >/dev/full; echo $?; cloud-dragon get --counter n";
    let ended = done(user.command_of("sh", &["-c", script]).spawn().unwrap());
    assert_eq!(ended.output, "1\n2\n1\n");
    assert!(ended.errors.contains("it was done, but could not be told"), "{}", ended.errors);
    assert!(!ended.errors.contains("panicked") && !ended.errors.contains("Broken pipe"), "{}", ended.errors);
}

#[test]
fn a_handle_proves_nothing_in_another_account() {
    let user = User::new();
    let script = "cloud-dragon set k 1 --locked --account other; echo $?; cloud-dragon set k 1 --locked";
    let ended = done(user.lock(&[], script));
    assert_eq!(ended.output, "2\n2\n", "{}", ended.errors);
    assert!(ended.errors.contains("the lock is at default, and not at other"), "{}", ended.errors);
}
