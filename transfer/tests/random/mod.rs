//! Random accounts, and what moves them.

#![allow(dead_code, reason = "shared by several tests")]

use bytes::Bytes;
use dragon_contract::NamedRow;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::layout::{Header, Kept, LockRow, write_counter, write_idempotency, write_lock, write_value};
use dragon_transfer::format::{Encoder, Head};
use dragon_transfer::{Mode, export, import};
use dragon_waiters::Frontend;
use futures_util::{TryStreamExt as _, stream};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use std::convert::Infallible;

pub const REVISION: u64 = 1_000_000;

pub fn account() -> Account {
    Account::new("a").unwrap()
}

pub fn head() -> Head {
    Head { account: "a".into(), revision: REVISION, mark_ms: 1_700_000_000_123 }
}

pub fn encode(rows: &[NamedRow]) -> Vec<u8> {
    let (mut encoder, first) = Encoder::begin(&head());
    let mut file = first.to_vec();
    for rows in rows.chunks(3) {
        file.extend_from_slice(&encoder.rows(rows).unwrap());
    }
    file.extend_from_slice(&encoder.end());
    file
}

/// Names with everything that JSON escapes.
fn id() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\u{1}\n\r\t/é\u{2028}\u{1f409}]{1,12}"
}

/// JSON as clients send it, white space and oddities included.
fn json() -> impl Strategy<Value = Bytes> {
    let odd = prop_oneof![
        Just("null"),
        Just("\"\""),
        Just("{}"),
        Just("{ \"b\" : [1,\n\t2.50e+01 ] ,\r\n \"a\":\"\\ud800 \\n\" , \"b\":null}"),
        Just("123456789012345678901234567890"),
        Just("\"\\u0041\u{2028}é\u{1f409}\""),
        Just("[[[]],\n[]]"),
        Just("-0.0"),
    ];
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    prop_oneof![odd.prop_map(str::to_owned), text].prop_map(Bytes::from)
}

fn row(kind: Kind) -> impl Strategy<Value = Bytes> {
    let times = prop_oneof![Just(0_u64), 1_u64..4_000_000_000_000];
    let numbers = (1..=REVISION, times, any::<i64>(), any::<u128>());
    (numbers, json(), id(), 0..3_u8).prop_map(
        move |((revision, expires_ms, number, fingerprint), json, id, tag)| {
            let header = Header { revision, expires_ms };
            let leased = Header { revision, expires_ms: expires_ms.max(1) };
            match kind {
                Kind::Counter => write_counter(Header { revision, expires_ms: 0 }, number),
                Kind::Lock => {
                    let handle = 1 + number.unsigned_abs() % revision;
                    let granted_ms = (number > 0).then_some(expires_ms);
                    let owner = if tag == 0 { Bytes::new() } else { id.into() };
                    write_lock(leased, &LockRow { handle, granted_ms, owner })
                }
                Kind::Idempotency => {
                    let kept = match tag {
                        0 => Kept::Nothing,
                        1 => Kept::Answer(json),
                        _ => Kept::Beside(id.into()),
                    };
                    write_idempotency(leased, &fingerprint.to_be_bytes(), &kept)
                }
                Kind::Value | Kind::Meta | Kind::Staged => write_value(header, &json),
            }
        },
    )
}

pub fn rows() -> impl Strategy<Value = Vec<NamedRow>> {
    let kinds =
        prop_oneof![Just(Kind::Value), Just(Kind::Counter), Just(Kind::Lock), Just(Kind::Idempotency)];
    let row = (kinds, id()).prop_flat_map(|(kind, id)| (Just(Cell::new(&account(), kind, &id)), row(kind)));
    vec(row, 0..20).prop_flat_map(|rows| {
        let cells: std::collections::BTreeMap<Cell, Bytes> = rows.into_iter().collect();
        Just(cells.into_iter().collect())
    })
}

/// A file of a random account.
pub fn account_file() -> impl Strategy<Value = Vec<u8>> {
    rows().prop_map(|rows| encode(&rows))
}

/// Imports a file into an account that is not there, and exports it again.
pub async fn pass_on(frontend: &Frontend, name: &str, file: &[u8]) -> Vec<u8> {
    let account = Account::new(name).unwrap();
    let pieces: Vec<Result<Bytes, Infallible>> =
        file.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    import(frontend, &account, Mode::Empty, stream::iter(pieces)).await.unwrap();
    let pieces: Vec<Bytes> = export(frontend, &account).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

/// The lines between the first and the last, in which the account's name and revision are.
pub fn rows_of(file: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    lines[1..lines.len() - 2].to_vec()
}
