//! Stored names and rows: bytes of any kind are read without a panic, what can be read is written as the same bytes, and
//! what is written is read back.

use crate::input::Input;
use bytes::Bytes;
use dragon_core::cell::{Account, Cell, Kind};
use dragon_core::layout::{
    FINGERPRINT_BYTES, HEADER_BYTES, Header, Kept, LockRow, Meta, Replacement, header, read_counter,
    read_idempotency, read_lock, read_meta, stamp, sweep_at_ms, value, write_counter, write_idempotency,
    write_lock, write_meta, write_value,
};

const KINDS: [Kind; 6] =
    [Kind::Meta, Kind::Value, Kind::Counter, Kind::Lock, Kind::Idempotency, Kind::Staged];

/// The format that only rows of locks have.
const FORMAT_OF_LOCKS: u8 = 2;

/// Takes the input for a stored name; without its first byte, which chooses a kind, for a stored row; and for what rows are
/// made from.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) {
    check_name(Bytes::copy_from_slice(bytes));
    let mut input = Input::new(bytes);
    let account = Account::new("a").expect("a name");
    let cell = Cell::new(&account, input.of(KINDS), "k");
    check_row(&cell, &Bytes::copy_from_slice(bytes.get(1..).unwrap_or_default()));
    check_built(&cell, &mut input);
}

fn check_name(bytes: Bytes) {
    let Some(cell) = Cell::from_bytes(bytes.clone()) else { return };
    assert_eq!(cell.as_bytes(), &bytes);
    let account = cell.account();
    assert!(account.is_system() || Account::new(cell.account_name()).as_ref() == Ok(&account));
    assert_eq!(Cell::new(&account, cell.kind(), cell.id()), cell);
    assert_eq!(cell.staged(u64::MAX).destination().as_ref(), Some(&cell));
    if let Some(destination) = cell.destination() {
        assert!(cell.kind() == Kind::Staged && destination.account() == account);
    }
}

/// A row that can be read, by whichever reader, is what its writer writes.
fn check_row(cell: &Cell, row: &Bytes) {
    let Ok(read) = header(cell, row) else {
        assert!(stamp(cell, Some(row)).is_err() && sweep_at_ms(cell, row).is_err());
        assert!(read_meta(cell, Some(row)).is_err() && read_counter(cell, Some(row)).is_err());
        assert!(read_lock(cell, row).is_err());
        return;
    };
    assert_eq!(stamp(cell, Some(row)), Ok(read.revision));
    let is_swept = read.expires_ms > 0 && cell.kind() != Kind::Staged;
    assert_eq!(sweep_at_ms(cell, row).map(|at_ms| at_ms.is_some()), Ok(is_swept));
    if let Ok((header, lock)) = read_lock(cell, row) {
        assert_eq!(&write_lock(header, &lock), row);
    }
    if row.first() == Some(&FORMAT_OF_LOCKS) {
        assert!(matches!(cell.kind(), Kind::Lock | Kind::Staged));
        return;
    }
    assert_eq!(&write_value(read, &value(row)), row);
    if let Ok(meta) = read_meta(cell, Some(row)) {
        assert_eq!(&write_meta(meta), row);
    }
    if let Ok(number) = read_counter(cell, Some(row)) {
        assert_eq!(&write_counter(read, number), row);
    }
    if let Ok((fingerprint, kept)) = read_idempotency(cell, row) {
        assert_eq!(&write_idempotency(read, &fingerprint, &kept), row);
    }
}

/// What is written is read back, and a row that was cut is not read.
fn check_built(cell: &Cell, input: &mut Input<'_>) {
    let head = Header { revision: input.number(), expires_ms: input.number() };
    let (number, other) = (input.number(), input.number());
    let replacement = input.of([None, Some(false), Some(true)]);
    let meta = Meta {
        revision: head.revision,
        mark_ms: head.expires_ms,
        // There is one only where there is a driver, and a closed account is there again once it is opened.
        replacement: replacement
            .filter(|_| number > 0)
            .map(|is_cleared| Replacement { import: other, is_cleared }),
        driver: number,
        deleted: if number == 0 || replacement.is_some() { 0 } else { other },
    };
    assert_eq!(read_meta(cell, Some(&write_meta(meta))), Ok(meta));

    let counter = write_counter(head, number.cast_signed());
    assert_eq!(header(cell, &counter), Ok(head));
    assert_eq!(read_counter(cell, Some(&counter)), Ok(number.cast_signed()));

    let mut fingerprint = [0; FINGERPRINT_BYTES];
    let given = input.bytes(FINGERPRINT_BYTES);
    fingerprint[..given.len()].copy_from_slice(given);
    let tag = input.byte() % 3;
    let rest = Bytes::copy_from_slice(input.bytes(usize::MAX));
    let granted_ms = (cell.kind() == Kind::Lock).then_some(other);
    let lock = LockRow { handle: number, granted_ms, owner: rest.clone() };
    let locked = write_lock(head, &lock);
    assert_eq!(read_lock(cell, &locked), Ok((head, lock)));
    assert_eq!(value(&write_value(head, &rest)), rest);
    let kept = match tag {
        0 => Kept::Nothing,
        1 => Kept::Answer(rest),
        _ => Kept::Beside(rest),
    };
    let remembered = write_idempotency(head, &fingerprint, &kept);
    assert_eq!(read_idempotency(cell, &remembered), Ok((fingerprint, kept)));

    for row in [counter, locked, remembered] {
        let cut = row.slice(..usize::from(cell.kind() as u8) * HEADER_BYTES / 5);
        assert!(read_counter(cell, Some(&cut)).is_err() && read_lock(cell, &cut).is_err());
        assert!(read_idempotency(cell, &cut).is_err() && read_meta(cell, Some(&cut)).is_err());
    }
}
