//! A row in pieces: a value of FoundationDB has at most 100,000 bytes. The first piece begins with the number
//! of the further ones. It is what watches compare, on both sides, so of a large row it has the header only.
//! An account's own row has none; there the number holds flags of the account.

use dragon_core::layout::HEADER_BYTES;

/// Flag of an account: a row of it was in several pieces once. In all others nobody has to look for pieces that a
/// new row leaves behind.
pub(crate) const HAS_PIECES: u8 = 1;
/// Flag of an account: it is being read as of one moment (`snapshots`).
pub(crate) const IS_BEING_READ: u8 = 2;

/// Bytes of a row in one of its further pieces: 10 % below the limit.
const PIECE_BYTES: usize = 90_000;
/// Bytes of a row that has no further pieces.
const WHOLE_BYTES_MAX: usize = 8_000;

/// The pieces of a row: the first, with the number before it, and the further ones.
pub(crate) fn cut(row: &[u8]) -> (Vec<u8>, impl Iterator<Item = (u8, &[u8])>) {
    let (first, rest) = row.split_at(if row.len() > WHOLE_BYTES_MAX { HEADER_BYTES } else { row.len() });
    let further = rest.chunks(PIECE_BYTES);
    let head = [&[further.len() as u8], first].concat();
    (head, (1..).zip(further))
}

/// How many further pieces a row is cut into.
pub(crate) fn further_pieces(row: &[u8]) -> u8 {
    if row.len() > WHOLE_BYTES_MAX { (row.len() - HEADER_BYTES).div_ceil(PIECE_BYTES) as u8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_put_together() {
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * PIECE_BYTES + 1).collect();
        let large = HEADER_BYTES + PIECE_BYTES;
        for len in [0, 1, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, large, large + 1, bytes.len()] {
            let row = &bytes[..len];
            let (head, further) = cut(row);
            let further: Vec<(u8, &[u8])> = further.collect();
            assert_eq!(usize::from(head[0]), further.len());
            assert_eq!(further_pieces(row), head[0]);
            assert!(further.iter().map(|(number, _)| *number).eq(1..=head[0]));
            let whole =
                [&head[1..], &further.iter().flat_map(|(_, piece)| *piece).copied().collect::<Vec<u8>>()]
                    .concat();
            assert!(whole == row, "{len}");
        }
    }
}
