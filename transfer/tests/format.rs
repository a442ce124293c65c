//! The format of exported accounts: what goes in comes out, and nothing else is believed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod random;

use dragon_contract::NamedRow;
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout::{Header, Kept, LockRow, write_counter, write_idempotency, write_lock, write_value};
use dragon_transfer::format::{Decoder, FormatError, Head};
use proptest::collection::btree_map;
use proptest::prelude::any;
use proptest::test_runner::{Config, FileFailurePersistence};
use random::{account, encode, head, rows};

fn decode(file: &[u8], chunk_bytes: usize) -> Result<(Head, Vec<NamedRow>), FormatError> {
    let mut decoder = Decoder::new(account());
    let mut rows = Vec::new();
    for chunk in file.chunks(chunk_bytes) {
        rows.extend(decoder.push(chunk)?);
    }
    let (head, count) = decoder.finish()?;
    assert_eq!(count, rows.len() as u64);
    Ok((head, rows))
}

proptest::proptest! {
    #![proptest_config(Config {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn rows_come_back_byte_for_byte(rows in rows(), chunk_bytes in 1_usize..200) {
        let file = encode(&rows);
        assert_eq!(decode(&file, chunk_bytes), Ok((head(), rows.clone())));
        assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), rows.len() + 2, "a line for each");
    }

    #[test]
    fn bytes_by_chance_are_refused(lines in btree_map(0..9_u8, any::<Vec<u8>>(), 0..9), good in rows()) {
        let mut file = encode(&good);
        assert!(decode(&lines.values().flatten().copied().collect::<Vec<u8>>(), 50).is_err());
        file.splice(file.len() / 2..file.len() / 2, lines.into_values().flatten().chain([0]));
        assert!(decode(&file, 50).is_err());
    }
}

/// One row of each kind.
fn example() -> Vec<NamedRow> {
    let header = Header { revision: 7, expires_ms: 1_800_000_000_000 };
    let cell = |kind, id: &str| Cell::new(&account(), kind, id);
    vec![
        (cell(Kind::Value, "k"), write_value(header, b"{\"a\": [1,\n2]}")),
        (cell(Kind::Value, "n"), write_value(Header { expires_ms: 0, ..header }, b"null")),
        (cell(Kind::Counter, "c"), write_counter(Header { revision: 7, expires_ms: 0 }, -5)),
        (
            cell(Kind::Lock, "l"),
            write_lock(header, &LockRow { handle: 5, granted_ms: Some(7), owner: "me".into() }),
        ),
        (cell(Kind::Idempotency, "i"), write_idempotency(header, &[9; 16], &Kept::Answer("{}".into()))),
    ]
}

#[test]
fn the_example_is_as_documented() {
    let file = String::from_utf8(encode(&example())).unwrap();
    let expected = [
        r#"{"Kind":"Account","Format":1,"Account":"a","Revision":1000000,"MarkMs":1700000000123}"#,
        r#"{"Kind":"KV","Key":"k","Version":7,"ExpiresMs":1800000000000,"Text":"{\"a\": [1,\n2]}"}"#,
        r#"{"Kind":"KV","Key":"n","Version":7,"Value":null}"#,
        r#"{"Kind":"Counter","Key":"c","Version":7,"Value":-5}"#,
        r#"{"Kind":"Lock","ID":"l","Version":7,"ExpiresMs":1800000000000,"Lock":5,"SinceMs":7,"Owner":"me"}"#,
        r#"{"Kind":"IdempotencyID","ID":"i","Version":7,"ExpiresMs":1800000000000,"Fingerprint":"09090909090909090909090909090909","Response":{}}"#,
    ];
    for (line, expected) in file.lines().zip(expected) {
        assert_eq!(line, expected);
    }
    assert!(file.lines().nth(6).unwrap().starts_with(r#"{"Kind":"End","Rows":5,"SHA256":""#));
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let file = encode(&example());
    for len in 0..file.len() - 1 {
        assert!(decode(&file[..len], 64).is_err(), "{len}");
    }
    assert!(decode(&file[..file.len() - 1], 64).is_ok(), "but for the last line's break");
}

#[test]
fn a_flipped_bit_is_noticed() {
    let file = encode(&example());
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(bit / 8 == file.len() - 1 || decode(&flipped, 64).is_err(), "{bit}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let good = String::from_utf8(encode(&example())).unwrap();
    let first = good.lines().next().unwrap();
    let lines =
        |lines: &[&str]| decode(format!("{}\n", lines.join("\n")).as_bytes(), 99).unwrap_err().to_string();
    let row = |row: &str| lines(&[first, row]);
    for (problem, told) in [
        (lines(&[]), "line 1"),
        (lines(&["{}"]), "missing field `Kind`"),
        (lines(&["[1]"]), "line 1"),
        (lines(&["hello"]), "line 1"),
        (lines(&[r#"{"Kind":"KV","Key":"k","Version":1,"Value":1}"#]), "begins with"),
        (lines(&[&first.replace("\"Format\":1", "\"Format\":2")]), "of a newer version"),
        (lines(&[&first.replace("\"Format\":1", "\"Format\":0")]), "Format"),
        (lines(&[&first.replace("\"a\"", "\"..\"")]), "an account is"),
        (lines(&[&first.replace("1000000", "9223372036854775807")]), "Revision"),
        (lines(&[first, first]), "not known, or not here"),
        (lines(&[first]), "was cut off"),
        (row(r#"{"Kind":"KV","Key":"k","Version":1}"#), "Value is missing"),
        (row(r#"{"Kind":"KV","Key":"k","Version":1,"Value":1,"Color":2}"#), "Color"),
        (row(r#"{"Kind":"KV","Key":"k","Version":1,"Value":1,"Text":"1"}"#), "both"),
        (row(r#"{"Kind":"KV","Key":"k","Version":1,"Text":"[1"}"#), "not JSON"),
        (row(r#"{"Kind":"KV","Key":"","Version":1,"Value":1}"#), "empty"),
        (row(r#"{"Kind":"KV","Key":"k","Version":1000001,"Value":1}"#), "Version"),
        (row(r#"{"Kind":"KV","Key":"k","Version":0,"Value":1}"#), "Version"),
        (
            row(r#"{"Kind":"KV","Key":"k","Version":1,"ExpiresMs":99999999999999999,"Value":1}"#),
            "too far off",
        ),
        (row(r#"{"Kind":"Lock","ID":"l","Version":1,"Lock":1}"#), "ExpiresMs"),
        (row(r#"{"Kind":"Lock","ID":"l","Version":1,"ExpiresMs":5,"Lock":2}"#), "Lock must be"),
        (
            row(r#"{"Kind":"IdempotencyID","ID":"l","Version":1,"ExpiresMs":5,"Fingerprint":"+9"}"#),
            "Fingerprint",
        ),
        (row(r#"{"Kind":"Queue","Key":"k"}"#), "not known"),
        (
            row(&format!(
                r#"{{"Kind":"KV","Key":"k","Version":1,"Value":{}}}"#,
                "[".repeat(129) + &"]".repeat(129)
            )),
            "deeper",
        ),
        (
            row(&format!(r#"{{"Kind":"KV","Key":"k","Version":1,"Value":"{}"}}"#, "v".repeat(1 << 20))),
            "larger than",
        ),
        (row(&"x".repeat(3 << 20)), "too long"),
    ] {
        assert!(problem.contains(told), "{told}: {problem}");
    }
    let counter = r#"{"Kind":"Counter","Key":"c","Version":1,"Value":1}"#;
    assert!(lines(&[first, counter, counter]).contains("twice"));
    assert!(lines(&[first, counter, r#"{"Kind":"KV","Key":"k","Version":1,"Value":1}"#]).contains("order"));
    assert!(decode(format!("{good}{first}\n").as_bytes(), 99).unwrap_err().to_string().contains("after End"));
}
